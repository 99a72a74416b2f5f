package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/coder/aibridged/internal/tableversion"
)

var (
	// ErrNewer says that a newer program has made the tables of a database, which this one must not touch.
	ErrNewer = tableversion.ErrNewer
	// ErrOlder says that the tables of a database are older than this program's, or not there yet.
	ErrOlder = tableversion.ErrOlder
)

// Migrations are append-only: the statements of a released one are never changed, and none is ever undone. The last
// release goes on writing while they run, so they only add. They make no index on a table of records in one step, since
// that would keep all from writing.
//
//go:embed migrations/*.sql
var migrations embed.FS

const (
	// leaseLasts is how long others wait for a program that was bringing the tables up to date, and is gone.
	leaseLasts = 15 * time.Second
	// leasePatience and leasePause are how long and how often a program looks whether another one is done.
	leasePatience = 10 * time.Minute
	leasePause    = 100 * time.Millisecond
)

// migrate applies the migrations that a database does not have yet. One program at a time does so; the others wait.
func migrate(ctx context.Context, config *pgx.ConnConfig) (err error) {
	db := stdlib.OpenDB(*config) // The values of its connections are those that goose knows.
	defer func() { err = errors.Join(err, db.Close()) }()
	version, err := versionOf(ctx, db)
	if err != nil {
		return err
	}
	if err := tableversion.RefuseNewer(migrations, version); err != nil {
		return err
	}
	if tableversion.RefuseOlder(migrations, version) == nil {
		return nil
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	// The lock is a row with a lease, which the program renews. A lock of a session would be left behind in a pooler.
	lease, err := lock.NewPostgresTableLocker(
		lock.WithTableLeaseDuration(leaseLasts), lock.WithTableHeartbeatInterval(leaseLasts/5),
		lock.WithTableLockTimeout(leasePause, uint64(leasePatience/leasePause)),
		lock.WithTableRetryPolicy(isOvertaken),
		lock.WithTableLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true), goose.WithLocker(lease))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", redact(err))
	}
	version, err = versionOf(ctx, db)
	return errors.Join(err, tableversion.RefuseNewer(migrations, version)) // A newer program may have been at it, too.
}

// isOvertaken reports whether an error says that another program has the lease, or has just made its table.
func isOvertaken(err error) bool {
	state := stateOf(err)
	return state == "" || state == stateUnique || state == stateTableExists || state == stateTypeExists || isContention(state)
}

// requireCurrent fails if the tables of a database are not of this program's version.
func requireCurrent(ctx context.Context, config *pgx.ConnConfig) (err error) {
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	version, err := versionOf(ctx, db)
	if err != nil {
		return err
	}
	return errors.Join(tableversion.RefuseNewer(migrations, version), tableversion.RefuseOlder(migrations, version))
}

// versionOf returns the version of a database's tables. It is zero if there are none yet.
func versionOf(ctx context.Context, db *sql.DB) (version int64, err error) {
	var migrated bool
	err = db.QueryRowContext(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&migrated)
	if err == nil && migrated {
		err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version)
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of its tables: %w", err)
	}
	return version, nil
}
