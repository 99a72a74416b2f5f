package controlplane

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/hashicorp/yamux"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/proto"
)

// NetworkOptions are the options of [Network]. The zero value is ready to use.
type NetworkOptions struct {
	// CallTimeout limits each call; a caller's own earlier deadline counts. Zero is 10 seconds.
	CallTimeout time.Duration
}

// Network returns a dialer whose client calls a server that [Serve] runs, or any other server that accepts yamux
// sessions and speaks DRPC on their streams.
//
// The dialer calls dial once, with the context that it was given, and returns when the other end has answered a first
// ping, or fails. Ending that context afterwards does nothing to the connection. The client is safe for concurrent use:
// calls share one connection, and none waits for another. The Closed channel of its DRPCConn tells that the connection
// has ended, also where the other end fell silent: after 35 seconds at most. Whoever dialed must close it in any case:
// Close fails the calls that still run, and waits for everything that belongs to the connection.
func Network(dial func(ctx context.Context) (net.Conn, error), options NetworkOptions) aibridged.Dialer {
	if options.CallTimeout <= 0 {
		options.CallTimeout = 10 * time.Second
	}
	return func(ctx context.Context) (aibridged.DRPCClient, error) {
		session, err := connect(ctx, dial, defaultHeartbeat())
		if err != nil {
			return nil, err
		}
		conn := newLink(session, options.CallTimeout)
		return &aibridged.Client{
			DRPCRecorderClient:        proto.NewDRPCRecorderClient(conn),
			DRPCMCPConfiguratorClient: proto.NewDRPCMCPConfiguratorClient(conn),
			DRPCAuthorizerClient:      proto.NewDRPCAuthorizerClient(conn),
			Conn:                      conn,
		}, nil
	}
}

// connect returns a session whose other end has answered a ping: where something else than a control plane listens, it
// must fail here, where the caller waits before it tries again.
func connect(ctx context.Context, dial func(ctx context.Context) (net.Conn, error), h heartbeat) (*yamux.Session, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, dialFailed(ctx, err)
	}
	session, err := yamux.Client(conn, sessionConfig(h))
	if err != nil {
		return nil, errors.Join(dialFailed(ctx, err), conn.Close())
	}
	stop := context.AfterFunc(ctx, func() { session.Close() }) // Ping does not know of contexts.
	_, err = session.Ping()
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		session.Close()
		return nil, dialFailed(ctx, err)
	}
	return session, nil
}

// dialFailed keeps the code that a caller's dial gave its error, if it gave one.
func dialFailed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case drpcerr.Code(err) != 0:
		return err
	}
	return unavailable("connect to the control plane: %w", err)
}
