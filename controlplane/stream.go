package controlplane

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/hashicorp/yamux"
	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcerr"
)

// maxKeptRequest is the size of the largest request, in bytes, after which a stream returns to the pool. A DRPC
// connection keeps a buffer as large as its largest request, and the pool uses its streams in turn, so a few large
// batches would give all streams large buffers.
const maxKeptRequest = 64 << 10

// stream is a DRPC connection over one stream of a session.
type stream struct {
	*drpcconn.Conn
	wire *wire
}

// Invoke makes a call. It returns the server's own error as it is and every other failure with a code, and closes a
// stream that cannot be used for another call.
func (s *stream) Invoke(ctx context.Context, rpc string, enc drpc.Encoding, in, out drpc.Message) error {
	err := s.Conn.Invoke(ctx, rpc, enc, in, out)
	broken := s.broken()
	// Closing the stream cancels the handler of a call whose caller has given up. DRPC closes it too, but perhaps only
	// after the pool has given the stream to the next call, which would then fail with this call's cancellation.
	if ctx.Err() != nil || broken || len(*in.(*message)) > maxKeptRequest {
		_ = s.Close() // An error here only says that the other end may be gone.
	}
	switch {
	case err == nil:
		return nil
	// Below, errors contain the text of the cause but do not wrap it: DRPC also returns context.Canceled and io.EOF
	// where no caller has cancelled and no file has ended.
	case broken:
		return unavailable("%s: the connection to the control plane broke: %v", rpc, err)
	case errors.Is(err, io.EOF):
		return unavailable("%s: the control plane gave no answer", rpc)
	case errors.Is(err, context.Canceled):
		return unavailable("%s: the control plane gave up the call", rpc)
	case err.Error() == drpc.ProtocolError.New("unknown rpc: %q", rpc).Error():
		// A server that is older than the RPC returns drpcmux's text for an unknown one, without a code.
		return drpcerr.WithCode(err, drpcerr.Unimplemented)
	}
	return err
}

func (s *stream) broken() bool {
	select {
	case <-s.Closed():
		return true
	default:
		return s.wire.failed.Load()
	}
}

// wire is a stream's transport. It notes that a write has failed: DRPC reports that to the call that wrote, but keeps
// using the connection.
type wire struct {
	*yamux.Stream
	failed atomic.Bool
}

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Stream.Write(p)
	if err != nil {
		w.failed.Store(true)
	}
	return n, err
}
