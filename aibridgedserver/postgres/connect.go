package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// connectTimeout is how long a connection may take to be there, unless the address says otherwise.
	connectTimeout = 5 * time.Second
	// deadAfter is about how long a peer may be silent that owes an answer, before its connection counts as broken.
	deadAfter = 8 * time.Second
)

// parse returns how to connect to an address: a URL or the keywords of libpq. Its errors do not repeat the address, which
// has the password.
func parse(address string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, fmt.Errorf("the address of the database cannot be read: write postgres://USER@HOST:PORT/DATABASE, or keywords as libpq has them%s", reason(err))
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
		return !strings.EqualFold(err.Severity, "FATAL") && err.Code != stateReadOnly
	}
	config.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	// Named statements belong to a connection of the server, and a pooler may give each transaction another one. So a
	// statement is described once, and sent as a whole each time.
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	return config, nil
}

// reason returns why an address cannot be read, if that says nothing of the address itself.
func reason(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		if inner, ok := err.(*strconv.NumError); ok {
			return ": a number is wrong: " + inner.Err.Error()
		}
	}
	return ""
}

// pool returns a pool of at most size connections. Idle ones stay open.
func pool(config *pgx.ConnConfig, size int) *sql.DB {
	db := sql.OpenDB(connector{stdlib.GetConnector(*config, stdlib.OptionAfterConnect(func(_ context.Context, conn *pgx.Conn) error {
		registerValues(conn.TypeMap())
		return nil
	}))})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db
}

// server is what is known of a server at the start.
type server struct {
	version     int    // 150018: 15.18.
	encoding    string // Of its texts.
	commit      string // The setting synchronous_commit.
	connections int    // How many there may be at a time, without those for superusers.
	pooled      bool   // A pooler stands in front of it.
}

// ask returns what is known of a server.
func ask(ctx context.Context, db *sql.DB) (s server, err error) {
	session, err := db.Conn(ctx)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	var pid uint32
	err = session.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
		current_setting('synchronous_commit'),
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int, pg_backend_pid()`).
		Scan(&s.version, &s.encoding, &s.commit, &s.connections, &pid)
	if err != nil {
		return s, err
	}
	err = session.Raw(func(driver any) error {
		// A pooler tells its clients numbers of its own.
		s.pooled = driver.(conn).Conn.Conn().PgConn().PID() != pid
		return nil
	})
	return s, err
}

const oldestVersion = 140000

// check returns an error if the server cannot keep what it is promised to keep.
func (s server) check() error {
	switch {
	case s.version < oldestVersion:
		return fmt.Errorf("PostgreSQL is of version %d: %d or newer is needed", s.version/10000, oldestVersion/10000)
	case s.encoding != "UTF8":
		return fmt.Errorf("the database is encoded as %s: make one with ENCODING 'UTF8'", s.encoding)
	case s.commit == "off":
		return errors.New("synchronous_commit is off for this user, so records that count as stored could get lost: turn it on")
	case !s.pooled && s.connections < poolSizes:
		return fmt.Errorf("the server takes %d connections, and a gateway needs %d: raise max_connections, or put a pooler in front of it", s.connections, poolSizes)
	}
	return nil
}
