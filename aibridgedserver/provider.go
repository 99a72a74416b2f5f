package aibridgedserver

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Provider is a provider as a gateway was last set up with it. Its key is not stored.
type Provider struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	BaseURL  string `json:"base_url"` // Empty: the vendor's own.
	Disabled bool   `json:"disabled"`
}

// SetProviders replaces all stored providers with these.
func (s *Server) SetProviders(ctx context.Context, providers []Provider) error {
	now := time.Now().UnixMicro()
	err := s.db.write(ctx, s.db.Writer, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM providers`); err != nil {
			return err
		}
		for _, p := range providers {
			_, err := tx.ExecContext(ctx, `INSERT INTO providers (name, type, base_url, disabled, updated_at)
				VALUES ($1, $2, $3, $4, $5)`, p.Name, p.Type, p.BaseURL, p.Disabled, now)
			if err != nil {
				return fmt.Errorf("provider %q: %w", p.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set providers: %w", err)
	}
	return nil
}

// Providers returns the providers that were last set, by name.
func (s *Server) Providers(ctx context.Context) ([]Provider, error) {
	providers := []Provider{}
	err := each(ctx, s.db.Reader, `SELECT name, type, base_url, disabled FROM providers ORDER BY name`, nil,
		func(rows *sql.Rows) error {
			var p Provider
			err := rows.Scan(&p.Name, &p.Type, &p.BaseURL, &p.Disabled)
			providers = append(providers, p)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("list providers: %w", err)
	}
	return providers, nil
}
