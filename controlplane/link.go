package controlplane

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcpool"
)

// maxIdleStreams is how many idle streams are kept for later calls. The number of streams in use is not limited.
const maxIdleStreams = 64

// link is the one connection that a client's calls share. Each call has a stream of the session to itself, because DRPC
// carries one call at a time on a stream. Streams return to a pool, because opening one costs more than a call.
type link struct {
	session     *yamux.Session
	callTimeout time.Duration
	pool        *drpcpool.Pool[struct{}, *stream]
	streams     drpc.Conn // Makes calls on streams of the pool, or on new ones.

	mu     sync.Mutex
	closed bool           // No further call may begin.
	calls  sync.WaitGroup // Goroutines of calls.
}

func newLink(session *yamux.Session, callTimeout time.Duration) *link {
	l := &link{
		session:     session,
		callTimeout: callTimeout,
		pool:        drpcpool.New[struct{}, *stream](drpcpool.Options{Capacity: maxIdleStreams}),
	}
	l.streams = l.pool.Get(context.Background(), struct{}{}, l.open)
	return l
}

// Closed returns a channel that is closed when the connection has ended, no matter which end closed it.
func (l *link) Closed() <-chan struct{} { return l.session.CloseChan() }

// Close closes the connection, makes the calls that still run fail, and waits for all goroutines.
func (l *link) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()

	err := l.session.Close()
	l.calls.Wait()
	return errors.Join(err, l.pool.Close())
}

// Invoke makes a call. It returns when the answer has come, when ctx ends, or at the time limit, even if the connection
// hangs.
func (l *link) Invoke(ctx context.Context, rpc string, enc drpc.Encoding, in, out drpc.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	request, err := marshal(rpc, "request", enc, in)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, l.callTimeout)
	defer cancel()

	reply, err := l.begin(limited, rpc, request)
	if err != nil {
		return err
	}
	var got callResult
	select {
	case got = <-reply:
	case <-limited.Done():
		got.err = limited.Err()
	}
	switch {
	case got.err == nil:
		if err := enc.Unmarshal(got.message, out); err != nil {
			return unavailable("answer of %s: %w", rpc, err)
		}
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return unavailable("%s: the control plane gave no answer within %v: %w", rpc, l.callTimeout, limited.Err())
	}
	return got.err
}

// NewStream fails: the contract has no streaming calls.
func (l *link) NewStream(_ context.Context, rpc string, _ drpc.Encoding) (drpc.Stream, error) {
	return nil, drpcerr.WithCode(errors.New("no streaming calls to a control plane: "+rpc), drpcerr.Unimplemented)
}

// callResult is the answer or the error of a call.
type callResult struct {
	message message
	err     error
}

// begin makes a call in a goroutine of its own, because a write to a connection that hangs does not end with a context.
// The channel has room for the answer, so the goroutine ends even if nobody receives it.
func (l *link) begin(ctx context.Context, rpc string, request message) (<-chan callResult, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.session.IsClosed() {
		return nil, unavailable("%s: the connection to the control plane is closed", rpc)
	}
	reply := make(chan callResult, 1)
	l.calls.Go(func() {
		var got callResult
		got.err = l.streams.Invoke(ctx, rpc, asIs{}, &request, &got.message)
		reply <- got
	})
	return reply, nil
}

// open opens a stream for the pool.
func (l *link) open(context.Context, struct{}) (*stream, error) {
	conn, err := l.session.OpenStream()
	if err != nil {
		return nil, unavailable("open a stream to the control plane: %w", err)
	}
	wire := &wire{Stream: conn}
	// SoftCancel is off: with it, a call that is cancelled before it is sent would send only its cancellation, and the
	// server would wait for ever for the call itself. Closing the stream cancels the handler too.
	return &stream{wire: wire, Conn: drpcconn.New(wire)}, nil
}
