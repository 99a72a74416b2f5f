// Package postgres opens a PostgreSQL database, of version 14 or newer, for package aibridgedserver:
//
//	db, err := postgres.Open(ctx, "postgres://aibridged@db.internal/aibridged", postgres.Options{Logger: logger})
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//
// Any number of control planes may have it open at the same time. A pooler in front of it may give each transaction
// another connection: nothing here needs more.
//
// What a call has stored when it returns is on the server's disk. After a failover it is on the new primary only if that
// was a synchronous standby: name those in the server's synchronous_standby_names.
//
// The server's errors repeat what was sent to it, prompts among it. Of an error that this package returns, only what
// cannot be from a record is left.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"cdr.dev/slog/v3"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/pgdial"
)

// How many connections each pool has at most. A control plane takes all of them under load.
const (
	writers = 4
	readers = 4
	reports = 2
	lookers = 1

	poolSizes = writers + readers + reports + lookers
)

// Options are the optional settings of [Open]; the zero value works.
type Options struct {
	// Logger is told at the start that a pooler is there, and later of partitions that cannot be made. The zero value is
	// silent.
	Logger slog.Logger
}

// Open connects to the database at an address, a URL or the keywords of libpq, and brings its tables up to date. Where
// the address leaves something out, the environment variables of libpq (PGPASSWORD, for example) and its password file
// say it. Several hosts may be named; the one that can be written to is used.
//
// It fails with [ErrNewer], and changes nothing, if a newer program has brought the tables up to a version that this one
// does not know. Its errors do not contain the password. The caller closes the database.
func Open(ctx context.Context, address string, options Options) (aibridgedserver.Database, error) {
	return open(ctx, address, options, migrate)
}

// OpenCurrent opens the database as [Open] does, but fails with [ErrOlder], and changes nothing, if the tables are not up
// to date or not there yet. It is for a process beside another one, whose version may be older.
func OpenCurrent(ctx context.Context, address string, options Options) (aibridgedserver.Database, error) {
	return open(ctx, address, options, requireCurrent)
}

// IsEmpty reports whether a database has no tables of ours. It changes nothing.
func IsEmpty(ctx context.Context, address string) (empty bool, err error) {
	config, err := pgdial.Parse(address)
	if err != nil {
		return false, err
	}
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	version, err := versionOf(ctx, db)
	if err != nil {
		return false, fmt.Errorf("open database %s: %w", Describe(address), err)
	}
	return version == 0, nil
}

// Describe returns the host and the name of the database at an address, for people to read. It leaves out the user and
// the password.
func Describe(address string) string {
	config, err := pgdial.Parse(address)
	if err != nil {
		return "PostgreSQL"
	}
	return fmt.Sprintf("%s on %s (PostgreSQL)", config.Database, net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))))
}

func open(
	ctx context.Context, address string, options Options, prepare func(context.Context, *pgx.ConnConfig) error,
) (db aibridgedserver.Database, err error) {
	config, err := pgdial.Parse(address)
	if err != nil {
		return db, err
	}
	if db, err = openConfig(ctx, config, options, prepare); err != nil {
		return db, fmt.Errorf("open database %s: %w", Describe(address), err)
	}
	return db, nil
}

func openConfig(
	ctx context.Context, config *pgx.ConnConfig, options Options, prepare func(context.Context, *pgx.ConnConfig) error,
) (db aibridgedserver.Database, err error) {
	server, err := ask(ctx, config)
	if err != nil {
		return db, err
	}
	if err := server.check(); err != nil {
		return db, err
	}
	if err := prepare(ctx, config); err != nil {
		return db, err
	}
	config, reporting := server.limits(config)
	if server.pooled {
		options.Logger.Info(ctx, "a pooler stands in front of the database: nothing that needs a session is used, so locks and reports have no time limits of their own")
	}
	writer := pool(config, writers)
	months, err := startMonths(ctx, writer, options.Logger)
	if err != nil {
		return db, errors.Join(err, writer.Close())
	}
	inserter, err := newInserter(ctx, writer, months)
	if err != nil {
		months.close()
		return db, errors.Join(err, writer.Close())
	}
	return aibridgedserver.Database{
		Writer: writer, Reader: pool(config, readers), Reports: pool(reporting, reports), Fault: fault,
		Changes: changes{pool(config, lookers), months}, Health: health{writer}, Insert: inserter.insert, Search: search{},
		Long: `ended_at - started_at > interval '10 minutes'`, DropBefore: months.dropBefore, Hold: holdAll,
	}, nil
}
