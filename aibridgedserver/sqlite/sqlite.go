// Package sqlite opens an SQLite file as the database of package aibridgedserver:
//
//	db, err := sqlite.Open(ctx, "/var/lib/aibridged/aibridged.db")
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//
// Several processes may have the file open at the same time, for example a gateway and a command that revokes a token.
// It must not lie on a network file system.
//
// What a call has stored when it returns survives a crash of the process and a loss of power: each transaction is
// synced to the disk. So a queue may forget a record, and a person may be shown a token, once the call that stores it
// has returned.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/coder/aibridged/aibridgedserver"
)

const (
	// busyTimeout is how long a statement waits for another process to finish its transaction.
	busyTimeout = 5 * time.Second
	// busyPause is the time between two looks at whether another process is done.
	busyPause = 10 * time.Millisecond
	// readers is how many queries run at the same time; further ones wait.
	readers = 8
)

// Open opens the file at path and brings its tables up to date. It makes the directory, with mode 0700, and the file,
// with mode 0600, if they are missing. It fails with [ErrNewer], and changes nothing, if a newer program has brought
// the tables up to a version that this one does not know, and with [ErrUnusable] if the file is damaged or another
// program's. The caller closes the database.
func Open(ctx context.Context, path string) (aibridgedserver.Database, error) {
	return open(ctx, path, refuseNewer)
}

// OpenCurrent opens the file at path as [Open] does, but fails with [ErrOlder], and changes nothing, if the tables are
// not up to date or not there yet. It is for a process beside another one, whose version may be older.
func OpenCurrent(ctx context.Context, path string) (aibridgedserver.Database, error) {
	return open(ctx, path, func(version int64) error { return errors.Join(refuseNewer(version), refuseOlder(version)) })
}

// open opens the file if refuse returns nil for the version of its tables.
func open(ctx context.Context, path string, refuse func(version int64) error) (aibridgedserver.Database, error) {
	db, err := openFile(ctx, path, refuse)
	if err != nil {
		return aibridgedserver.Database{}, fmt.Errorf("open database %q: %w", path, err)
	}
	return db, nil
}

func openFile(ctx context.Context, path string, refuse func(version int64) error) (db aibridgedserver.Database, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return db, err
	}
	version, err := versionOf(ctx, path)
	if err == nil {
		err = refuse(version)
	}
	if err != nil {
		return db, err
	}
	if err := makeFile(path); err != nil {
		return db, err
	}
	writer, err := connect(path, 1, url.Values{
		"_journal_mode": {"WAL"},
		// NORMAL would sync a transaction only when the engine moves it from its log into the main file, perhaps hours
		// later.
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"on"},
		"_txlock":       {"immediate"},
	})
	if err != nil {
		return db, err
	}
	if err := migrate(ctx, writer); err != nil {
		return db, errors.Join(Explain(err), writer.Close())
	}
	if err := settle(ctx, writer); err != nil {
		return db, errors.Join(Explain(err), writer.Close())
	}
	reader, err := connect(path, readers, url.Values{"_query_only": {"on"}})
	if err != nil {
		return db, errors.Join(err, writer.Close())
	}
	looker, err := connect(path, 1, url.Values{"_query_only": {"on"}})
	if err != nil {
		return db, errors.Join(err, reader.Close(), writer.Close())
	}
	health, err := newHealth(path)
	if err != nil {
		return db, errors.Join(err, looker.Close(), reader.Close(), writer.Close())
	}
	return aibridgedserver.Database{
		Writer: writer, Reader: reader, Fault: fault, Changes: &changes{db: looker, health: health}, Health: health,
		Search: search{},
	}, nil
}

// settle syncs the engine's log. A process that was killed between the write and the sync of a transaction leaves that
// transaction in the log, and the next process that opens the file reads it. Without a sync here, a record in it would
// count as stored, its queue would forget it, and a power failure could then lose it.
//
// A checkpoint, which moves the log into the main file, begins with that sync, so settle asks for a checkpoint. On a
// full disk the checkpoint fails, but only after the sync, so that is no error.
func settle(ctx context.Context, writer *sql.DB) error {
	for deadline := time.Now().Add(busyTimeout); ; {
		var busy bool
		var frames, moved int
		err := writer.QueryRowContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &frames, &moved)
		if failure, ok := errors.AsType[*sqlite.Error](err); ok && primary(failure) == sqlitelib.SQLITE_FULL {
			return nil
		}
		if err != nil {
			return fmt.Errorf("sync its log: %w", err)
		}
		if !busy {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("sync its log: another process has been at that for %v, try again when it is done", busyTimeout)
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// connect returns a pool of at most size connections to a file that exists. Idle ones stay open. None of them makes the
// file: a pool opens connections when it needs them, and the file may have been deleted by then.
func connect(path string, size int, options url.Values) (*sql.DB, error) {
	connector, err := connectorOf(path, options)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// connectorOf returns what opens connections to a file that exists.
func connectorOf(path string, options url.Values) (driver.Connector, error) {
	if !options.Has("_busy_timeout") {
		options.Set("_busy_timeout", strconv.FormatInt(busyTimeout.Milliseconds(), 10))
	}
	options.Set("_dqs", "false")
	options.Set("mode", "rw")
	name := url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}
	return sqlite.NewConnector(name.String())
}

// Explain adds to an error of the engine what a person can do about it, if it is one that a file can be at fault for.
func Explain(err error) error {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	if failure.Code() == sqlitelib.SQLITE_IOERR_SHMSIZE || primary(failure) == sqlitelib.SQLITE_FULL {
		return fmt.Errorf("%w; the disk is full, make room on it", err)
	}
	switch primary(failure) {
	case sqlitelib.SQLITE_NOTADB:
		return fmt.Errorf("%w; the file is something else than a database: %w", err, ErrUnusable)
	case sqlitelib.SQLITE_CORRUPT:
		return fmt.Errorf("%w; the file is damaged: %w", err, ErrUnusable)
	case sqlitelib.SQLITE_READONLY, sqlitelib.SQLITE_CANTOPEN:
		return fmt.Errorf("%w; let this user write to the file and its directory, or choose another path", err)
	case sqlitelib.SQLITE_BUSY, sqlitelib.SQLITE_LOCKED:
		return fmt.Errorf("%w; another process has held it locked for %v: stop it, or wait until it is done, and start again", err, busyTimeout)
	default:
		return err
	}
}

func fault(err error) aibridgedserver.Fault {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return aibridgedserver.FaultUnavailable
	}
	switch primary(failure) {
	case sqlitelib.SQLITE_CONSTRAINT, sqlitelib.SQLITE_TOOBIG, sqlitelib.SQLITE_MISMATCH:
		return aibridgedserver.FaultRecord
	default:
		return aibridgedserver.FaultUnavailable
	}
}

// primary returns an error's result code without the detail in its upper bits.
func primary(err *sqlite.Error) int { return err.Code() & 0xff }
