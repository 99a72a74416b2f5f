// Package aibridgedserver is a control plane for gateways: it keeps users, their API keys and the records of
// interceptions in a database, and answers the three services that a gateway calls, Recorder, MCPConfigurator and
// Authorizer.
//
//	db, err := sqlite.Open(ctx, path)
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//	server, err := aibridgedserver.New(ctx, db, aibridgedserver.Options{Logger: logger})
//	if err != nil {
//		return err
//	}
//	defer server.Close()
//
// A [Server] is served over DRPC, or called as it is by a gateway in the same process. It treats requests as immutable.
//
// What it does not do: it opens no connection and listens on none, and it asks no one but its database.
package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"cdr.dev/slog/v3"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

var (
	_ proto.DRPCRecorderServer        = (*Server)(nil)
	_ proto.DRPCMCPConfiguratorServer = (*Server)(nil)
	_ proto.DRPCAuthorizerServer      = (*Server)(nil)
)

// Options are what a [Server] can do without.
type Options struct {
	// Logger hears of metadata that could not be read. The zero value is silent.
	Logger slog.Logger
}

// Server is a control plane over a [Database]. All of its methods are safe for concurrent use, also beside other
// servers on the same database, in this process or another.
//
// Of the errors of the three services, those that a later call may be spared carry the DRPC code 14, unavailable; all
// others are final.
type Server struct {
	db     Database
	logger slog.Logger
	writer *writer
	keys   *sql.Stmt // Prepared findKey, on the reader.
	known  *keyCache // Nil where nothing tells when it would be wrong.
}

// New returns a server over db, which must stay open until after [Server.Close]. Ctx bounds New alone.
func New(ctx context.Context, db Database, options Options) (*Server, error) {
	keys, err := db.Reader.PrepareContext(ctx, findKey)
	if err != nil {
		return nil, fmt.Errorf("prepare look-up of keys: %w", err)
	}
	writer, err := newWriter(ctx, db)
	if err != nil {
		return nil, errors.Join(err, keys.Close())
	}
	return &Server{db: db, logger: options.Logger, writer: writer, keys: keys, known: newKeyCache(db.Changes)}, nil
}

// Close waits for the records that are being stored. Records that come later are refused. It does not close the database.
// Calling it again does nothing.
func (s *Server) Close() error {
	return errors.Join(s.writer.close(), s.keys.Close())
}

// unavailable marks err as one that says nothing about the request.
func unavailable(err error) error { return drpcerr.WithCode(err, rpcstatus.Unavailable) }
