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
// The engine tells a connection, at the price of a look into memory that its processes share, whether another one has
// committed anything. Since each batch of records is such a thing, it is only then that the number is read.
type changes struct {
	db *sql.DB

	mu     sync.Mutex
	conn   *sql.Conn // One and the same, as its versions are its own. Nil: none yet, or the last one failed.
	latest int64     // The version that number was read at.
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

// look returns the number. The caller has mu.
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
	// What is committed between the two is in the number already, and makes the next look read it once more.
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
	return errors.Join(err, c.db.Close())
}
