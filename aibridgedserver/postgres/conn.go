package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5/stdlib"
)

// connector opens connections that return the values of package aibridgedserver, and errors that repeat none.
type connector struct{ driver.Connector }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return conn{opened.(*stdlib.Conn)}, nil
}

type conn struct{ *stdlib.Conn }

func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	found, err := c.Conn.QueryContext(ctx, query, bound(args))
	if err != nil {
		return nil, redact(err)
	}
	return newRows(found.(*stdlib.Rows)), nil
}

func (c conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.Conn.ExecContext(ctx, query, bound(args))
	return result, redact(err)
}

// bound returns arguments as the server can hold them. The driver sends a text that is not in an array as it is, without
// asking [textCodec].
func bound(args []driver.NamedValue) []driver.NamedValue {
	for i, arg := range args {
		if text, ok := arg.Value.(string); ok {
			args[i].Value = storable(text)
		}
	}
	return args
}

// BeginTx begins a transaction. One that only reads sees the database of one moment.
func (c conn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if options.ReadOnly {
		options.Isolation = driver.IsolationLevel(sql.LevelRepeatableRead)
	}
	begun, err := c.Conn.BeginTx(ctx, options)
	if err != nil {
		return nil, redact(err)
	}
	if options.ReadOnly {
		if _, err := c.Conn.ExecContext(ctx, keepMonths, nil); err != nil {
			return nil, errors.Join(redact(err), begun.Rollback())
		}
	}
	return tx{begun}, nil
}

// All that a transaction reads that only reads is of one moment, as SQLite has it. When the partitions of a month are made,
// rows are moved into them: a transaction that knows the new partitions, but has its moment from before, would see these
// rows in neither place. The lock keeps partitions from being made while it reads. It is taken before the moment is.
const keepMonths = `LOCK TABLE interceptions_other IN ACCESS SHARE MODE`

type tx struct{ driver.Tx }

func (t tx) Commit() error { return redact(t.Tx.Commit()) }

// errPrepared is the error of a statement that would be kept at the server: a pooler may hand on its connection.
var errPrepared = errors.New("statements are not prepared")

// Prepare fails.
func (conn) Prepare(string) (driver.Stmt, error) { return nil, errPrepared }

// PrepareContext fails.
func (conn) PrepareContext(context.Context, string) (driver.Stmt, error) { return nil, errPrepared }

type rows struct {
	*stdlib.Rows

	kinds []string // The names of the columns' types.
}

func newRows(found *stdlib.Rows) rows {
	r := rows{Rows: found, kinds: make([]string, len(found.Columns()))}
	for i := range r.kinds {
		r.kinds[i] = found.ColumnTypeDatabaseTypeName(i)
	}
	return r
}

func (r rows) Next(dest []driver.Value) error {
	if err := r.Rows.Next(dest); err != nil {
		return redact(err)
	}
	for i, value := range dest {
		var err error
		if dest[i], err = returned(r.kinds[i], value); err != nil {
			return err
		}
	}
	return nil
}
