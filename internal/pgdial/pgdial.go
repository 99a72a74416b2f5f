// Package pgdial says how this module connects to a PostgreSQL server.
package pgdial

import (
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// readOnly is the SQLSTATE of a transaction that writes, on a standby.
	readOnly = "25006"
	// connectTimeout is how long a connection may take to be there, unless the address says otherwise.
	connectTimeout = 5 * time.Second
	// deadAfter is about how long a peer may be silent that owes an answer, before its connection counts as broken. It is half
	// of the ten seconds after which all has to be right again: then another connection is made, and what failed is asked again.
	deadAfter = 5 * time.Second
)

// hasPasswordAsHost reports whether the host is what stands behind an @ in a password that was not escaped.
func hasPasswordAsHost(config *pgx.ConnConfig) bool {
	return strings.Contains(config.Host, "@") ||
		slices.ContainsFunc(config.Fallbacks, func(other *pgconn.FallbackConfig) bool { return strings.Contains(other.Host, "@") })
}

// Parse returns how to connect to an address: a URL or the keywords of libpq. Its errors do not repeat the address, which
// has the password. A connection to a server that cannot be written to is refused, or closed when it turns out, and one
// whose peer is silent for too long breaks. Nothing that belongs to a session of the server is used, since a pooler may
// stand in front of it.
func Parse(address string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil || hasPasswordAsHost(config) {
		// Its own words may have a part of the password.
		return nil, errors.New("the address of the database cannot be read: write postgres://USER@HOST:PORT/DATABASE, or keywords as libpq has them; in a URL, what is special in a password is escaped, @ as %40 for example")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	// After a failover an address may lead to the old primary, or to a standby. A server that cannot be written to is no
	// use for records, so it is passed over, and the next address is tried.
	if config.ValidateConnect == nil {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deadAfter / 4, Interval: deadAfter / 4, Count: 3},
		Control:         boundUnacknowledged,
	}
	config.DialFunc = dialer.DialContext
	// A connection that was opened to a primary stays open when that becomes a standby. It is closed, so that the next one
	// leads to the new primary.
	config.OnPgError = func(_ *pgconn.PgConn, err *pgconn.PgError) bool {
		return !strings.EqualFold(err.Severity, "FATAL") && err.Code != readOnly
	}
	// Named statements belong to a connection of the server, and a pooler may give each transaction another one. So a
	// statement is described once, and sent as a whole each time.
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	return config, nil
}
