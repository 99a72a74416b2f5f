package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Database is an open engine that holds the control plane's tables in their latest version. Packages sqlite and postgres
// make one. Writer, Reader and Fault must be set.
//
// The SQL of this package is what both engines understand, and its values are the same for both: an id is its 16 bytes or
// text, a time is microseconds since 1970, metadata is JSON text. What a column holds is the engine's affair.
// The fields from Reports on are what an engine does in its own way; Search must be set for reports.
type Database struct {
	// Writer runs transactions that write, each from its beginning on: as many at a time as it has connections.
	Writer *sql.DB
	// Reader runs queries, also while the writer writes.
	Reader *sql.DB
	// Fault tells what an error of the engine means.
	Fault func(error) Fault
	// Changes tells when keys have changed. If it is nil, each authorisation asks the Reader.
	Changes Changes
	// Health tells whether the engine can keep what it is given. If it is nil, that is taken for granted.
	Health Health

	// Reports runs the queries of reports. Nil: the Reader does.
	Reports *sql.DB
	// Insert inserts rows that have the values of into's columns, one row after the other, and returns how many, without
	// those that already existed. Nil: by prepared statements, which is SQLite's fastest way.
	Insert func(ctx context.Context, tx *sql.Tx, into Insertion, values []any) (inserted int64, err error)
	// Search finds prompts by their words.
	Search Search
	// Long is the condition that an interception took more than ten minutes. It must be that of the index of long
	// interceptions. Empty: the one of SQLite, where times are microseconds.
	Long string
	// DropBefore deletes whole stores of records from before a time at once, if each of their records is that old, and
	// returns how many interceptions they had. Nil: the engine has no such stores, and Prune deletes row by row.
	DropBefore func(ctx context.Context, before time.Time) (interceptions int64, err error)
	// Hold keeps stored records where they are until a transaction ends, for one that deletes some of them with several
	// statements. Nil: they never move.
	Hold func(ctx context.Context, tx *sql.Tx) error
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
	// FaultAgain is caused by another transaction at the same time. Nothing was committed, and the same transaction may
	// succeed if it is run again at once.
	FaultAgain
)

// tries is how often a transaction is run that others keep from succeeding.
const tries = 5

// Close closes Changes, Reports, Reader and Writer. It must be called after [Server.Close].
func (d Database) Close() error {
	var err error
	if d.Changes != nil {
		err = d.Changes.Close()
	}
	if d.Reports != nil {
		err = errors.Join(err, d.Reports.Close())
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
// context that cannot end. Do may run several times, if another transaction is in the way.
func (d Database) Write(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	return inTurn(ctx, d, do)
}

// Read runs do in a transaction for reports: all that it reads is of one moment.
func (d Database) Read(ctx context.Context, do func(*sql.Tx) error) error {
	return inTx(ctx, d.reports(), &sql.TxOptions{ReadOnly: true}, do)
}

// reports returns what runs the queries of reports.
func (d Database) reports() *sql.DB {
	if d.Reports != nil {
		return d.Reports
	}
	return d.Reader
}

// long returns the condition that an interception took more than ten minutes.
func (d Database) long() string {
	if d.Long != "" {
		return d.Long
	}
	return `ended_at > started_at + 600000000`
}

// write runs do in a transaction that is on db, the writer or a connection of it, and commits it if do succeeds. If
// another transaction is in the way, write runs do again. It fails if the engine is not intact, before or after the
// commit.
func (d Database) write(ctx context.Context, db beginner, do func(*sql.Tx) error) error {
	return d.keep(func() error {
		err := inTx(ctx, db, nil, do)
		for try := 1; err != nil && try < tries && d.Fault(err) == FaultAgain; try++ {
			err = inTx(ctx, db, nil, do)
		}
		return err
	})
}

// InsertRows inserts rows that have the values of into's columns, one row after the other, and returns how many were new or
// were changed. A row may be there once.
func (d Database) InsertRows(ctx context.Context, tx *sql.Tx, into Insertion, values []any) (inserted int64, err error) {
	if len(values) == 0 {
		return 0, nil
	}
	if d.Insert != nil {
		return d.Insert(ctx, tx, into, values)
	}
	var row []any
	places := make([]string, strings.Count(into.Columns, ",")+1)
	for i := range places {
		places[i] = placeholder(&row, nil)
	}
	statement, err := tx.PrepareContext(ctx, `INSERT INTO `+into.Table+` (`+into.Columns+`) VALUES (`+strings.Join(places, ", ")+`) ON CONFLICT `+into.Exists)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, statement.Close()) }()
	for row := range slices.Chunk(values, len(places)) {
		n, err := affected(statement.ExecContext(ctx, row...))
		if err != nil {
			return inserted, err
		}
		inserted += n
	}
	return inserted, nil
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
// Do may run several times: see [Database.write].
func inTurn(ctx context.Context, db Database, do func(context.Context, *sql.Tx) error) (err error) {
	conn, err := db.Writer.Conn(ctx)
	if err != nil {
		return fmt.Errorf("wait for the writer: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ctx = context.WithoutCancel(ctx)
	return db.write(ctx, conn, func(tx *sql.Tx) error { return do(ctx, tx) })
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
