package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Database is an open engine that holds the control plane's tables in their latest version. Package sqlite makes one.
// Only Changes and Health may be nil.
type Database struct {
	// Writer runs one transaction at a time. Each of them may write from its beginning on.
	Writer *sql.DB
	// Reader runs queries, also while the writer writes.
	Reader *sql.DB
	// Fault tells what an error of the engine means.
	Fault func(error) Fault
	// Changes tells when keys have changed. If it is nil, each authorisation asks the Reader.
	Changes Changes
	// Health tells whether the engine can keep what it is given. If it is nil, that is taken for granted.
	Health Health
}

// Health tells whether an engine can keep what it is given. Its errors are one line, and say nothing that only a
// machine's owner may know. It is safe for concurrent use, until [Database.Close].
type Health interface {
	// Intact returns an error if what was committed up to now may have no lasting place, for example because the file was
	// deleted or cut. It is called before each transaction, and records are acknowledged only after it. So it is quick,
	// unless something has changed that it has to look at.
	Intact() error
	// Writable returns an error if the engine cannot be written to. It tries, which takes some milliseconds, or seconds
	// while another program writes.
	Writable(ctx context.Context) error
}

// errNotIntact is the error of a transaction that was committed to where nothing lasts.
var errNotIntact = errors.New("the database is not where it was")

// Changes tells whether keys or users have changed.
type Changes interface {
	// Number returns a new number after any process has committed a change to API keys or to users. It is quick, and
	// safe for concurrent use. After an error nothing is known about changes.
	Number(ctx context.Context) (uint64, error)
	// Close is called by [Database.Close]. Number is not called after it.
	Close() error
}

// Fault is what a failure of the engine means for the records that it concerns.
type Fault int

const (
	// FaultUnavailable is a failure of the engine, or caused by another writer: a later try may succeed.
	FaultUnavailable Fault = iota
	// FaultRecord is caused by the record itself: every try to store it fails.
	FaultRecord
)

// Close closes Changes, Reader and Writer. It must be called after [Server.Close].
func (d Database) Close() error {
	var err error
	if d.Changes != nil {
		err = d.Changes.Close()
	}
	// The connection that closes last moves the engine's log into its main file. A reader may not do that, so the
	// writer closes last.
	return errors.Join(err, d.Reader.Close(), d.Writer.Close())
}

// intact returns errNotIntact if what was committed up to now may have no lasting place.
func (d Database) intact() error {
	if d.Health != nil && d.Health.Intact() != nil {
		return errNotIntact
	}
	return nil
}

// keep runs a transaction if the engine is intact, and fails if it is not intact after the commit.
func (d Database) keep(transact func() error) error {
	if err := d.intact(); err != nil {
		return err
	}
	if err := transact(); err != nil {
		return err
	}
	return d.intact()
}

// Write runs do in a transaction of the writer, and commits it if do succeeds. Ctx bounds the wait for a turn; do gets a
// context that cannot end.
func (d Database) Write(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	return inTurn(ctx, d, do)
}

// Read runs do in a transaction of the reader: all that it reads is of one moment.
func (d Database) Read(ctx context.Context, do func(*sql.Tx) error) error {
	return inTx(ctx, d.Reader, &sql.TxOptions{ReadOnly: true}, do)
}

// inTx runs do in a transaction, and commits it if do succeeds.
func inTx(ctx context.Context, db beginner, options *sql.TxOptions, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := do(tx); err != nil {
		if failed := tx.Rollback(); !errors.Is(failed, sql.ErrTxDone) { // The end of ctx has rolled it back.
			err = errors.Join(err, failed)
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// inTurn runs do in a transaction of the writer, and commits it if do succeeds. Ctx bounds the wait for a turn, but not
// the transaction, which is short. The reason is cost: with a context that can end, database/sql starts goroutines for
// each begin, statement and commit, and these cost as much as the rows. So do gets a context that cannot end.
//
// It fails if the engine is not intact, before or after the commit.
func inTurn(ctx context.Context, db Database, do func(context.Context, *sql.Tx) error) (err error) {
	conn, err := db.Writer.Conn(ctx)
	if err != nil {
		return fmt.Errorf("wait for the writer: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ctx = context.WithoutCancel(ctx)
	return db.keep(func() error { return inTx(ctx, conn, nil, func(tx *sql.Tx) error { return do(ctx, tx) }) })
}

// beginner is a database or a connection to it.
type beginner interface {
	BeginTx(ctx context.Context, options *sql.TxOptions) (*sql.Tx, error)
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls scan with every row that query yields.
func each(ctx context.Context, db querier, query string, args []any, scan func(*sql.Rows) error) (err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
