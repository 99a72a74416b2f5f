package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Database is an engine that holds the control plane's tables, opened and migrated. Package sqlite makes one. All of its
// fields but Changes are set.
type Database struct {
	// Writer takes one transaction at a time, and each of them is one that may write.
	Writer *sql.DB
	// Reader serves queries beside the writer.
	Reader *sql.DB
	// Fault says what an error of the engine means.
	Fault func(error) Fault
	// Changes tells when keys have changed. Nil: nothing does, and each authorisation asks the Reader.
	Changes Changes
}

// Changes tells whether what is known of keys still holds.
type Changes interface {
	// Number returns another number than before once any process has committed a change to API keys or to users. It is
	// quick, and safe for concurrent use. An error says nothing about keys.
	Number(ctx context.Context) (uint64, error)
	// Close is called by [Database.Close], and no Number after it.
	Close() error
}

// Fault is what a failure of the engine means for the records that it concerns.
type Fault int

const (
	// FaultUnavailable is the engine's own trouble, or another writer's doing: a later try may succeed.
	FaultUnavailable Fault = iota
	// FaultRecord is caused by what was to be stored: it will fail every time.
	FaultRecord
)

// Close closes all of it. It must come after [Server.Close].
func (d Database) Close() error {
	var err error
	if d.Changes != nil {
		err = d.Changes.Close()
	}
	// The side that closes last moves what is in an engine's log into its main file, which a reader may not do.
	return errors.Join(err, d.Reader.Close(), d.Writer.Close())
}

// inTx runs do in a transaction, and commits it if do succeeds.
func inTx(ctx context.Context, db beginner, options *sql.TxOptions, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := do(tx); err != nil {
		if failed := tx.Rollback(); !errors.Is(failed, sql.ErrTxDone) { // The end of ctx rolls back too.
			err = errors.Join(err, failed)
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// inTurn runs do in a transaction of the writer, and commits it if do succeeds. Ctx bounds the wait for one's turn. It
// does not reach the transaction, which is short: for a context that can end, each begin, statement and commit starts
// goroutines, and these cost as much as the rows. The context that do is given cannot end.
func inTurn(ctx context.Context, writer *sql.DB, do func(context.Context, *sql.Tx) error) (err error) {
	conn, err := writer.Conn(ctx)
	if err != nil {
		return fmt.Errorf("wait for the writer: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ctx = context.WithoutCancel(ctx)
	return inTx(ctx, conn, nil, func(tx *sql.Tx) error { return do(ctx, tx) })
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
