package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// changes tells when keys have changed. It implements [aibridgedserver.Changes].
//
// PRAGMA data_version tells a connection whether another connection has committed anything. It only reads memory that
// the processes share, so it is cheap. Since each batch of records is such a commit, the version changes often without
// a change of keys: Number then reads the number in the table key_changes, which changes with keys and users only.
type changes struct {
	db     *sql.DB
	health *health // Closed with it, before the connections that write.

	mu     sync.Mutex
	conn   *sql.Conn // Always the same, since versions of different connections do not compare. Nil: none yet, or the last one failed.
	latest int64     // The version when number was read.
	number uint64
}

// Number implements [aibridgedserver.Changes].
func (c *changes) Number(ctx context.Context) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	number, err := c.look(ctx)
	if err != nil && c.conn != nil {
		err = errors.Join(err, c.conn.Close())
		c.conn = nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for changes of keys: %w", err)
	}
	return number, nil
}

// look returns the number. The caller holds mu.
func (c *changes) look(ctx context.Context) (number uint64, err error) {
	known := c.conn != nil
	if !known {
		if c.conn, err = c.db.Conn(ctx); err != nil {
			return 0, err
		}
	}
	var version int64
	if err := c.conn.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&version); err != nil {
		return 0, err
	}
	if known && version == c.latest {
		return c.number, nil
	}
	// A commit between the two queries is in the number already; the next look sees a new version and reads the number
	// once more.
	if err := c.conn.QueryRowContext(ctx, `SELECT number FROM key_changes`).Scan(&c.number); err != nil {
		return 0, err
	}
	c.latest = version
	return c.number, nil
}

// Close implements [aibridgedserver.Changes].
func (c *changes) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.conn != nil {
		err = c.conn.Close()
		c.conn = nil
	}
	return errors.Join(err, c.db.Close(), c.health.close())
}
