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

// maxKeptRequest is the size up to which a request leaves its stream in the pool. A DRPC connection keeps a buffer as
// large as its largest request, and the pool uses its streams in turn: a few large batches would make them all large.
const maxKeptRequest = 64 << 10

// stream is a DRPC connection over one stream of a session.
type stream struct {
	*drpcconn.Conn
	wire *wire
}

// Invoke makes a call, tells what the server said from what kept it from saying anything, and closes the stream where
// it is not fit for another call.
func (s *stream) Invoke(ctx context.Context, rpc string, enc drpc.Encoding, in, out drpc.Message) error {
	err := s.Conn.Invoke(ctx, rpc, enc, in, out)
	broken := s.broken()
	// Closing the stream is what cancels the handler of a call that was given up. DRPC is about to do so as well, but
	// not before the pool could give the stream to the next call, which would then fail with this one's cancellation.
	if ctx.Err() != nil || broken || len(*in.(*message)) > maxKeptRequest {
		_ = s.Close() // The other end may be gone, which is no news.
	}
	switch {
	case err == nil:
		return nil
	// Below, the cause is told but not wrapped: DRPC says context.Canceled and io.EOF for much that is neither the
	// caller's cancellation nor anybody's end of file.
	case broken:
		return unavailable("%s: the connection to the control plane broke: %v", rpc, err)
	case errors.Is(err, io.EOF):
		return unavailable("%s: the control plane gave no answer", rpc)
	case errors.Is(err, context.Canceled):
		return unavailable("%s: the control plane gave up the call", rpc)
	case err.Error() == drpc.ProtocolError.New("unknown rpc: %q", rpc).Error():
		// A server older than the RPC says so by the text of drpcmux, without a code.
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

// wire is a stream's transport. It notes that a write has failed: DRPC tells the call that wrote, but goes on to use
// the connection.
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
