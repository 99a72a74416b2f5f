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
// A gateway calls a [Server] over DRPC, or directly if it runs in the same process. The server treats requests as
// immutable.
//
// A server opens no connection, listens on none, and asks nothing but its database and [Options.Secret].
package aibridgedserver

import (
	"context"

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

// Options are the optional settings of a [Server]; the zero value works.
type Options struct {
	// Logger gets a warning about metadata that cannot be read. The zero value is silent.
	Logger slog.Logger
	// Secret returns the secret that a reference in the database stands for, such as the name of a file; see
	// [MCPServer.TokenFrom]. It is asked at each use, so that a secret that changes takes effect. Its errors go to gateways
	// and must not hold the secret. It must be safe for concurrent use. Nil: references stand for nothing.
	Secret func(reference string) (string, error)
	// EncryptionKeys returns the keys that secrets in the database are encrypted with: the first is the one that
	// [Server.RotateSecrets] changes to, the others only read what is there. First says that nothing is encrypted yet, so that
	// a new key may be made. It is asked again when a key is not known, so that another process can change keys. It must be
	// safe for concurrent use. Nil: secrets are stored as they are.
	EncryptionKeys func(first bool) ([]EncryptionKey, error)
	// Unchecked says that New does not check the keys: an error comes only with the first secret that needs another one. It is
	// for what reads records, perhaps of a copy of the database, and for a RotateSecrets that drops what cannot be read.
	Unchecked bool
}

// Server is a control plane over a [Database]. All of its methods are safe for concurrent use, also while other servers
// use the same database, in this process or another.
//
// An error of one of the three services carries the DRPC code 14, unavailable, if a later call may succeed. All other
// errors are final.
type Server struct {
	db      Database
	logger  slog.Logger
	writer  *writer
	secret  func(reference string) (string, error) // Nil: references stand for nothing.
	secrets *secrets
	known   *keyCache // Nil if the database does not tell when keys change.
}

// New returns a server over db, which must stay open until after [Server.Close]. Ctx bounds New alone. It fails with
// [ErrWrongKey] if the secrets in the database are encrypted with another key.
func New(ctx context.Context, db Database, options Options) (*Server, error) {
	secrets := &secrets{keys: options.EncryptionKeys}
	if err := secrets.start(ctx, db, !options.Unchecked); err != nil {
		return nil, err
	}
	writer, err := newWriter(ctx, db)
	if err != nil {
		return nil, err
	}
	return &Server{
		db: db, logger: options.Logger, writer: writer, secret: options.Secret, secrets: secrets, known: newKeyCache(db.Changes),
	}, nil
}

// Close waits for the records that are being stored, and the server refuses records that come later. Close does not
// close the database. Calling it again does nothing.
func (s *Server) Close() error {
	return s.writer.close()
}

// unavailable gives err the code 14: the call failed, but its request may be good.
func unavailable(err error) error { return drpcerr.WithCode(err, rpcstatus.Unavailable) }
