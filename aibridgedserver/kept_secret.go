package aibridgedserver

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// keptPrefix begins a reference to a secret that the database keeps. The secret's id follows.
const keptPrefix = "secret:"

// NewSecretReference returns a reference for a secret that the database is to keep: see [Provider.Secrets].
func NewSecretReference() string { return keptPrefix + rand.Text() }

// IsSecretReference reports whether a text refers to a secret that the database keeps.
func IsSecretReference(text string) bool { return strings.HasPrefix(text, keptPrefix) }

func keptPlace(id string) string { return "kept/" + id }

// Secret returns the secret that a reference stands for: one that the database keeps, or what [Options.Secret] returns.
func (s *Server) Secret(ctx context.Context, reference string) (string, error) {
	id, kept := strings.CutPrefix(reference, keptPrefix)
	if !kept {
		if s.secret == nil {
			return "", errors.New("it cannot be looked up: this control plane resolves no references")
		}
		return s.secret(reference)
	}
	var stored string
	err := s.db.Reader.QueryRowContext(ctx, `SELECT sealed FROM kept_secrets WHERE id = $1`, id).Scan(&stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", errors.New("the secret is no longer in the database: set it again")
	case err != nil:
		return "", fmt.Errorf("read a secret: %w", err)
	}
	secret, err := s.secrets.open(stored, keptPlace(id))
	if err != nil {
		return "", fmt.Errorf("secret in the database: %w", err)
	}
	return secret, nil
}

// keepSecrets stores the secrets of an owner, by their references, and deletes those that the owner's text no longer names.
func (s *Server) keepSecrets(ctx context.Context, tx *sql.Tx, owner, text string, added map[string]string) error {
	for reference, secret := range added {
		id, kept := strings.CutPrefix(reference, keptPrefix)
		if !kept || !strings.Contains(text, reference) {
			return errors.New("a secret is not referred to")
		}
		sealed, err := s.secrets.seal(ctx, tx, secret, keptPlace(id))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO kept_secrets (id, owner, sealed) VALUES ($1, $2, $3)`, id, owner, sealed)
		if err != nil {
			return err
		}
	}
	var unused []string
	err := each(ctx, tx, `SELECT id FROM kept_secrets WHERE owner = $1`, []any{owner}, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		if !strings.Contains(text, keptPrefix+id) {
			unused = append(unused, id)
		}
		return err
	})
	for _, id := range unused {
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM kept_secrets WHERE id = $1`, id)
		}
	}
	return err
}
