package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// Migrations are append-only: the statements of a released one are never changed, and none is ever undone.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrate applies the migrations that db does not have yet, each in a transaction of its own.
func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	for applied := int64(-1); ; {
		// A provider reads the table of versions only once, so each try needs a new one.
		provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
		if err != nil {
			return err
		}
		_, failure := provider.Up(ctx)
		version, err := provider.GetDBVersion(ctx)
		if failure == nil {
			return errors.Join(err, refuseNewer(version)) // A newer program may have been at it, too.
		}
		// Another process may have applied the same migration between our look and our transaction. Then the version
		// has moved, and we try the rest.
		if err != nil || version <= applied {
			return fmt.Errorf("migrate: %w", failure)
		}
		applied = version
	}
}
