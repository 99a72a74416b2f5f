package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/coder/aibridged/internal/pgdial"
)

// pool returns a pool of at most size connections. Idle ones stay open.
func pool(config *pgx.ConnConfig, size int) *sql.DB {
	db := sql.OpenDB(connector{stdlib.GetConnector(*config, stdlib.OptionAfterConnect(func(_ context.Context, conn *pgx.Conn) error {
		registerValues(conn.TypeMap())
		return nil
	}), pgdial.Rechecked(config))})
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
func ask(ctx context.Context, config *pgx.ConnConfig) (s server, err error) {
	db := pool(config, 1)
	defer func() { err = errors.Join(err, db.Close()) }()
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

// limits returns how to connect for records and for reports, with limits of time for what could wait for ever: a lock that
// somebody holds, a transaction whose gateway is gone, a long report; and for what waits for two hours: the server's end of
// a connection that nobody has closed. A pooler takes no settings of a session.
func (s server) limits(config *pgx.ConnConfig) (records, reports *pgx.ConnConfig) {
	records = config.Copy()
	if !s.pooled {
		records.RuntimeParams["lock_timeout"] = "5s"
		records.RuntimeParams["idle_in_transaction_session_timeout"] = "30s"
		records.RuntimeParams["tcp_keepalives_idle"] = "10"
		records.RuntimeParams["tcp_keepalives_interval"] = "10"
		records.RuntimeParams["tcp_keepalives_count"] = "3"
	}
	reports = records.Copy()
	if !s.pooled {
		reports.RuntimeParams["statement_timeout"] = "30s"
	}
	return records, reports
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
