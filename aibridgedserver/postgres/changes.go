package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// lookPatience bounds a look for changes of keys. A look that takes longer has no answer, and the keys are asked for.
const lookPatience = time.Second

// changes tells when keys have changed. It implements [aibridgedserver.Changes].
type changes struct {
	db     *sql.DB // Of one connection: records never keep a look waiting.
	months *months // Closed with it, before the connections that it uses.
}

// Number implements [aibridgedserver.Changes].
func (c changes) Number(ctx context.Context) (number uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	if err := c.db.QueryRowContext(ctx, `SELECT number FROM key_changes`).Scan(&number); err != nil {
		return 0, fmt.Errorf("look for changes of keys: %w", err)
	}
	return number, nil
}

// Close implements [aibridgedserver.Changes].
func (c changes) Close() error {
	c.months.close()
	return c.db.Close()
}

// health implements [aibridgedserver.Health].
type health struct{ db *sql.DB }

// Intact implements [aibridgedserver.Health]. Whatever a server has committed is where it was.
func (health) Intact() error { return nil }

// Writable implements [aibridgedserver.Health]. It changes nothing, but writes.
func (h health) Writable(ctx context.Context) error {
	_, err := h.db.ExecContext(ctx, `UPDATE key_changes SET number = number`)
	switch {
	case err == nil:
		return nil
	case stateOf(err) == stateReadOnly:
		return errors.New("the database is read-only")
	case stateOf(err) == "53100":
		return errors.New("the disk of the database is full")
	}
	return errors.New("the database does not answer") // Its own words may have its address.
}
