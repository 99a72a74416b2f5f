package aibridgedserver

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Errors of the methods that change one provider.
var (
	ErrUnknownProvider = errors.New("no provider has this name")
	ErrKnownProvider   = errors.New("a provider of this name is there already")
)

// Provider is what a gateway makes a provider from.
type Provider struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	BaseURL  string `json:"base_url"` // Empty: the vendor's own.
	Disabled bool   `json:"disabled"`
	// Settings is what else there is to know, as a JSON object that only the gateway reads. Empty: an empty object. It
	// holds no secret, but references to them.
	Settings json.RawMessage `json:"settings"`
	// Secrets are secrets that the database is to keep, by references of [NewSecretReference] that Settings holds. Those that
	// it keeps already are not among them. One to which Settings no longer refers is deleted.
	Secrets map[string]string `json:"-"`

	// Configured says that the provider came from a configuration file, and Changed that a command has changed it since.
	// ChangedAt is when anything last did. These three are only read.
	Configured bool      `json:"configured"`
	Changed    bool      `json:"changed"`
	ChangedAt  time.Time `json:"changed_at"`
}

// seed returns a digest of what a configuration file says of the provider.
func (p Provider) seed() (string, error) {
	return seedOf(Provider{Type: p.Type, BaseURL: p.BaseURL, Disabled: p.Disabled, Settings: p.settings()})
}

func (p Provider) settings() json.RawMessage {
	if len(p.Settings) == 0 {
		return json.RawMessage("{}")
	}
	return p.Settings
}

func ownerOfProvider(name string) string { return "provider " + name }

// SeedProviders makes the database have the providers of a configuration file. A provider that an earlier file named is
// changed if the file says something else of it than the earlier one did, and deleted if the file no longer names it. What
// commands have made stays as it is, also beside an entry of the same name: the names of these are returned.
func (s *Server) SeedProviders(ctx context.Context, providers []Provider) (unused []string, err error) {
	err = s.reconfigure(ctx, func(ctx context.Context, tx *sql.Tx) error {
		unused = nil
		left, err := seedsOfProviders(ctx, tx)
		if err != nil {
			return err
		}
		named := map[string]bool{}
		for _, p := range providers {
			if named[p.Name] {
				return fmt.Errorf("two providers are named %q", p.Name)
			}
			named[p.Name] = true
			seed, err := p.seed()
			if err != nil {
				return fmt.Errorf("provider %q: %w", p.Name, err)
			}
			before, known := left[p.Name]
			delete(left, p.Name)
			switch {
			case known && before == "":
				unused = append(unused, p.Name)
				continue
			case before == seed:
				continue
			}
			if err := s.putProvider(ctx, tx, p, seed); err != nil {
				return err
			}
		}
		for name, seed := range left {
			if seed == "" {
				continue
			}
			if err := s.dropProvider(ctx, tx, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("seed providers: %w", err)
	}
	return unused, nil
}

// seedsOfProviders returns the seeds of all providers, by name.
func seedsOfProviders(ctx context.Context, tx *sql.Tx) (map[string]string, error) {
	seeds := map[string]string{}
	err := each(ctx, tx, `SELECT name, seed FROM providers`, nil, func(rows *sql.Rows) error {
		var name, seed string
		err := rows.Scan(&name, &seed)
		seeds[name] = seed
		return err
	})
	return seeds, err
}

// putProvider stores a provider, in the place of one of the same name.
func (s *Server) putProvider(ctx context.Context, tx *sql.Tx, p Provider, seed string) error {
	settings := p.settings()
	if !json.Valid(settings) {
		return fmt.Errorf("provider %q: its settings are not JSON", p.Name)
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO providers (name, type, base_url, disabled, settings, seed, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (name) DO UPDATE SET type = excluded.type, base_url = excluded.base_url, disabled = excluded.disabled,
			settings = excluded.settings, seed = excluded.seed, updated_at = excluded.updated_at`,
		p.Name, p.Type, p.BaseURL, p.Disabled, string(settings), seed, time.Now().UnixMicro())
	if err == nil {
		err = s.keepSecrets(ctx, tx, ownerOfProvider(p.Name), string(settings), p.Secrets)
	}
	if err != nil {
		return fmt.Errorf("provider %q: %w", p.Name, err)
	}
	return nil
}

func (s *Server) dropProvider(ctx context.Context, tx *sql.Tx, name string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM providers WHERE name = $1`, name)
	if err == nil {
		err = s.keepSecrets(ctx, tx, ownerOfProvider(name), "", nil)
	}
	return err
}

// AddProvider stores a provider that no file names. It fails with [ErrKnownProvider] if there is one of this name.
func (s *Server) AddProvider(ctx context.Context, p Provider) error {
	err := s.reconfigure(ctx, func(ctx context.Context, tx *sql.Tx) error {
		seeds, err := seedsOfProviders(ctx, tx)
		if err != nil {
			return err
		}
		if _, known := seeds[p.Name]; known {
			return fmt.Errorf("provider %q: %w", p.Name, ErrKnownProvider)
		}
		return s.putProvider(ctx, tx, p, "")
	})
	if err != nil {
		return fmt.Errorf("add a provider: %w", err)
	}
	return nil
}

// ChangeProvider changes a provider by change, which may not change its name, in one transaction. What it returns is
// returned. It fails with [ErrUnknownProvider] if there is none of this name.
func (s *Server) ChangeProvider(ctx context.Context, name string, change func(*Provider) error) error {
	return s.reconfigure(ctx, func(ctx context.Context, tx *sql.Tx) error {
		all, err := providersIn(ctx, tx)
		if err != nil {
			return fmt.Errorf("change a provider: %w", err)
		}
		p, known := all[name]
		if !known {
			return fmt.Errorf("provider %q: %w", name, ErrUnknownProvider)
		}
		if err := change(&p.Provider); err != nil {
			return err
		}
		p.Name = name
		return s.putProvider(ctx, tx, p.Provider, p.from)
	})
}

// RemoveProvider deletes a provider. It fails with [ErrUnknownProvider] if there is none, and with [ErrConfigured] if it
// came from a configuration file, which would only bring it back.
func (s *Server) RemoveProvider(ctx context.Context, name string) error {
	return s.reconfigure(ctx, func(ctx context.Context, tx *sql.Tx) error {
		seeds, err := seedsOfProviders(ctx, tx)
		if err != nil {
			return fmt.Errorf("remove a provider: %w", err)
		}
		switch seed, known := seeds[name]; {
		case !known:
			return fmt.Errorf("provider %q: %w", name, ErrUnknownProvider)
		case seed != "":
			return fmt.Errorf("provider %q: %w", name, ErrConfigured)
		}
		return s.dropProvider(ctx, tx, name)
	})
}

// storedProvider is a provider and its seed.
type storedProvider struct {
	Provider

	from string
}

// providersIn returns all providers, by name.
func providersIn(ctx context.Context, db querier) (map[string]storedProvider, error) {
	providers := map[string]storedProvider{}
	err := each(ctx, db, `SELECT name, type, base_url, disabled, settings, seed, updated_at FROM providers`, nil,
		func(rows *sql.Rows) error {
			var p storedProvider
			var settings string
			err := rows.Scan(&p.Name, &p.Type, &p.BaseURL, &p.Disabled, &settings, &p.from, (*instant)(&p.ChangedAt))
			if err != nil {
				return err
			}
			p.Settings, p.Configured = json.RawMessage(settings), p.from != ""
			// Settings that are no JSON were changed by somebody else.
			now, err := p.seed()
			p.Changed = p.Configured && (err != nil || now != p.from)
			providers[p.Name] = p
			return nil
		})
	return providers, err
}

// Providers returns all providers, by name.
func (s *Server) Providers(ctx context.Context) ([]Provider, error) {
	known, err := providersIn(ctx, s.db.Reader)
	if err != nil {
		return nil, fmt.Errorf("list providers: %w", err)
	}
	providers := make([]Provider, 0, len(known))
	for _, name := range slices.Sorted(maps.Keys(known)) {
		providers = append(providers, known[name].Provider)
	}
	return providers, nil
}
