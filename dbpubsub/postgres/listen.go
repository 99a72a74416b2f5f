package postgres

import (
	"context"
	"errors"
	"time"

	"cdr.dev/slog/v3"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// silence is how long the connection that listens may be silent before it is asked whether it still works, and
	// silencePatience how long its answer may take. A connection whose other side is gone would be silent for ever.
	silence         = 2 * time.Second
	silencePatience = 2 * time.Second
	// listenPause is the time between two tries to connect.
	listenPause = 250 * time.Millisecond
	// goodbye is how long closing a connection may take.
	goodbye = time.Second
)

// errPooled says that a pooler stands in front of the server: it hands on no notifications.
var errPooled = errors.New("a pooler stands in front of the server")

// listen returns a connection that listens. The caller closes it.
func (p *pubsub) listen(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	var pid uint32
	err = conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&pid)
	if err == nil && pid != conn.PgConn().PID() {
		err = errPooled
	}
	if err == nil {
		_, err = conn.Exec(ctx, `LISTEN `+channel)
	}
	if err != nil {
		leave(conn)
		return nil, err
	}
	return conn, nil
}

// leave closes a connection, which may be broken.
func leave(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	_ = conn.Close(ctx)
}

// listenForever hands on notifications until ctx ends. Whenever the connection is lost, it makes another one, and tells
// all subscribers that messages may be lost.
func (p *pubsub) listenForever(ctx context.Context, config *pgx.ConnConfig, conn *pgx.Conn) {
	for {
		err := p.hearAll(ctx, config, conn)
		leave(conn)
		if ctx.Err() != nil {
			return
		}
		p.logger.Warn(ctx, "connection for notifications is lost, connecting again", slog.Error(err))
		for conn, err = p.listen(ctx, config); err != nil; conn, err = p.listen(ctx, config) {
			if !pause(ctx, listenPause) {
				return
			}
		}
		p.logger.Info(ctx, "notifications are heard again")
		for _, event := range p.events() {
			p.lose(event)
		}
	}
}

// hearAll hands on what a connection hears, until ctx ends or the connection is lost.
func (p *pubsub) hearAll(ctx context.Context, config *pgx.ConnConfig, conn *pgx.Conn) error {
	for {
		notification, err := wait(ctx, conn)
		if err != nil {
			return err
		}
		if notification != nil {
			p.hear(notification)
			continue
		}
		asking, cancel := context.WithTimeout(ctx, silencePatience)
		err = config.ValidateConnect(asking, conn.PgConn()) // Nobody notifies on a primary that has become a standby.
		cancel()
		if err != nil {
			return err
		}
	}
}

// wait returns a notification, or nil if none has come for some time.
func wait(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	waiting, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	notification, err := conn.WaitForNotification(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil && !conn.IsClosed() {
		return nil, nil
	}
	return notification, err
}
