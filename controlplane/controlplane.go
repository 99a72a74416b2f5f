// Package controlplane connects a gateway with its DRPC server. Within one process, [InProcess] turns a call into a
// method call. Over any net.Conn, the gateway uses [Network] and the server [Serve].
//
//	listener, err := net.Listen("tcp", "127.0.0.1:0")
//	go controlplane.Serve(ctx, listener, server, controlplane.ServeOptions{})
//
//	dialer := controlplane.Network(func(ctx context.Context) (net.Conn, error) {
//		var d net.Dialer
//		return d.DialContext(ctx, "tcp", listener.Addr().String())
//	}, controlplane.NetworkOptions{})
//	client, err := dialer(ctx)
//
// Both ways return the same answers and the same errors:
//
//   - The error of a server's handler comes back with its text and with the code that drpcerr.WithCode gave it. Within
//     one process it is the same error value.
//   - When the caller's context ends, the call fails with the context's error and has no code.
//   - Code 14 (unavailable): the control plane could not be reached, gave no answer in time, or gave one that
//     cannot be read. A server's handlers use the same code when they cannot do their work, for example without a
//     database.
//   - Code 13 (internal): the handler panicked. Only that call fails.
//   - Code 12 (unimplemented): the server does not have that RPC.
//   - Code 8 (resource exhausted): the message is larger than can be sent over a network. It was not sent.
//   - Code 3 (invalid argument): the message cannot be marshalled. It was not sent.
//
// The package does not authenticate or encrypt: the net.Conn may. It does not dial again either: the [aibridged.Server]
// does that whenever a client's connection is closed.
package controlplane

import (
	"fmt"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/internal/rpcstatus"
)

func unavailable(format string, args ...any) error {
	return drpcerr.WithCode(fmt.Errorf(format, args...), rpcstatus.Unavailable)
}
