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
	// CallTimeout limits each call; an earlier deadline of the caller's context ends it earlier. Zero means 10 seconds.
	CallTimeout time.Duration
	// Silence is how long the other end may be silent before the connection counts as lost. Zero means 35 seconds. A short
	// time finds a broken connection soon; a machine or a network that stalls for longer loses its connection.
	Silence time.Duration
}

// Network returns a dialer whose client calls a server that [Serve] runs, or any other server that accepts yamux
// sessions and speaks DRPC on their streams.
//
// The dialer calls dial once, with its own context, and returns when the other end has answered a first ping, or an
// error. The end of that context does not affect the connection afterwards. The client is safe for concurrent use:
// calls share one connection, and none waits for another. The Closed channel of its DRPCConn is closed when the
// connection has ended; if the other end falls silent, that is after [NetworkOptions].Silence at most. The caller of the dialer must
// close the connection even then: Close makes the calls that still run fail, and waits for everything that belongs to
// the connection.
func Network(dial func(ctx context.Context) (net.Conn, error), options NetworkOptions) aibridged.Dialer {
	if options.CallTimeout <= 0 {
		options.CallTimeout = 10 * time.Second
	}
	if options.Silence <= 0 {
		options.Silence = defaultSilence
	}
	return func(ctx context.Context) (aibridged.DRPCClient, error) {
		session, err := connect(ctx, dial, heartbeatWithin(options.Silence))
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

// connect returns a session whose other end has answered a ping. If something else than a control plane listens there,
// connect fails; the caller then waits before it dials again.
func connect(ctx context.Context, dial func(ctx context.Context) (net.Conn, error), h heartbeat) (*yamux.Session, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, dialFailed(ctx, err)
	}
	session, err := yamux.Client(conn, sessionConfig(h))
	if err != nil {
		return nil, errors.Join(dialFailed(ctx, err), conn.Close())
	}
	stop := context.AfterFunc(ctx, func() { session.Close() }) // Ping takes no context.
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

// dialFailed returns the error of a dialer: ctx's error if ctx has ended, err itself if it has a code, else an
// unavailable error that wraps err.
func dialFailed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case drpcerr.Code(err) != 0:
		return err
	}
	return unavailable("connect to the control plane: %w", err)
}
