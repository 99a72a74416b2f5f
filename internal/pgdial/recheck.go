package pgdial

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// recheckEvery is how long a connection is used before its server is asked again.
	recheckEvery = 500 * time.Millisecond
	// otherWithin is how long it may take to find another server.
	otherWithin = time.Second
)

// recheckedAt is where a connection has the time at which its server was last asked.
const recheckedAt = "aibridged: rechecked at"

// Rechecked is an option for a pool of connections: before one is used again, its server is asked whether it can still be written to,
// every half second at most. A primary that has become a standby keeps its connections, and answers those that only read: they would be
// told of the past for ever. Such a connection is closed once there is a server that can be written to, to which the next one leads.
// Until then it is used: others would be refused.
func Rechecked(config *pgx.ConnConfig) stdlib.OptionOpenDB {
	validate := config.ValidateConnect
	return stdlib.OptionResetSession(func(ctx context.Context, conn *pgx.Conn) error {
		data := conn.PgConn().CustomData()
		now := time.Now()
		if last, ok := data[recheckedAt].(time.Time); ok && now.Sub(last) < recheckEvery || validate == nil {
			return nil
		}
		if err := validate(ctx, conn.PgConn()); err != nil && (conn.IsClosed() || canConnect(ctx, config)) {
			return driver.ErrBadConn
		}
		data[recheckedAt] = now
		return nil
	})
}

// canConnect reports whether a new connection would lead to a server that can be written to.
func canConnect(ctx context.Context, config *pgx.ConnConfig) bool {
	ctx, cancel := context.WithTimeout(ctx, otherWithin)
	defer cancel()
	other, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false
	}
	_ = other.Close(ctx) // It has done nothing.
	return true
}
