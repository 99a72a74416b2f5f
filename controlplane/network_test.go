package controlplane_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	protobuf "google.golang.org/protobuf/proto"
	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcmux"
	"storj.io/drpc/drpcserver"

	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/proto"
)

// TestServerGoes ends the server while calls run, and dials again.
func TestServerGoes(t *testing.T) {
	t.Parallel()
	server, arrived, ended := waiting()
	listener := listenTCP(t)
	stop := serve(t, listener, server, controlplane.ServeOptions{})
	dial := dialTCP(listener)
	dialer := controlplane.Network(func(ctx context.Context) (net.Conn, error) { return dial(ctx) }, patient())
	client := connect(t, dialer)

	failed := make(chan error)
	go func() {
		_, err := authorize(context.Background(), client, "key")
		failed <- err
	}()
	<-arrived
	stop()
	if err := <-failed; drpcerr.Code(err) != 14 || errors.Is(err, context.Canceled) {
		t.Errorf("the running call got %v with code %d, want code 14 and no context error", err, drpcerr.Code(err))
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler saw %v, want context.Canceled", err)
	}
	<-client.DRPCConn().Closed()
	if _, err := authorize(t.Context(), client, "key"); drpcerr.Code(err) != 14 {
		t.Errorf("a later call got %v with code %d, want code 14", err, drpcerr.Code(err))
	}
	if _, err := dialer(t.Context()); drpcerr.Code(err) != 14 {
		t.Errorf("dialing nobody gave %v with code %d, want code 14", err, drpcerr.Code(err))
	}

	again := listenTCP(t)
	dial = dialTCP(again)
	serve(t, again, fake(echo), controlplane.ServeOptions{})
	if name, err := authorize(t.Context(), connect(t, dialer), "key"); err != nil || name != "key" {
		t.Errorf("on a new connection: got %q, %v", name, err)
	}
}

// TestCloseFailsRunningCalls closes a connection, twice, while calls run on it.
func TestCloseFailsRunningCalls(t *testing.T) {
	t.Parallel()
	server, arrived, ended := waiting()
	listener := newPipes()
	serve(t, listener, server, controlplane.ServeOptions{})
	client := connect(t, controlplane.Network(listener.dial, patient()))
	failed := make(chan error)
	go func() {
		_, err := authorize(context.Background(), client, "key")
		failed <- err
	}()
	<-arrived
	for range 2 {
		if err := client.DRPCConn().Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if err := <-failed; drpcerr.Code(err) != 14 {
		t.Errorf("the running call got %v with code %d, want code 14", err, drpcerr.Code(err))
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler saw %v, want context.Canceled", err)
	}
	<-client.DRPCConn().Closed()
	if _, err := authorize(t.Context(), client, "key"); drpcerr.Code(err) != 14 {
		t.Errorf("a later call got %v with code %d, want code 14", err, drpcerr.Code(err))
	}
}

// TestLateAnswers gives up calls whose handlers answer nevertheless, while it makes other calls.
func TestLateAnswers(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	listener := newPipes()
	serve(t, listener, fake(func(ctx context.Context, rpc string, in protobuf.Message) (protobuf.Message, error) {
		if strings.HasPrefix(in.(*proto.IsAuthorizedRequest).GetKey(), "late") {
			arrived <- struct{}{}
			<-release
		}
		return echo(ctx, rpc, in)
	}), controlplane.ServeOptions{})
	client := connect(t, controlplane.Network(listener.dial, patient()))
	ask := func(key string) {
		t.Helper()
		if name, err := authorize(t.Context(), client, key); err != nil || name != key {
			t.Errorf("%s was answered with %q, %v", key, name, err)
		}
	}
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		var giving sync.WaitGroup
		giving.Go(func() {
			if _, err := authorize(ctx, client, "late"+strconv.Itoa(i)); !errors.Is(err, context.Canceled) {
				t.Errorf("the call that was given up got %v", err)
			}
		})
		<-arrived
		cancel()
		giving.Wait()
		ask("before " + strconv.Itoa(i)) // Its handler must not wait for the handler of the late answer.
		release <- struct{}{}
		ask("after " + strconv.Itoa(i))
	}
}

// TestCallTimeout checks the time limit of calls without a deadline, and that its error differs from that of the
// caller's own deadline.
func TestCallTimeout(t *testing.T) {
	t.Parallel()
	server, _, ended := waiting()
	listener := newPipes()
	serve(t, listener, server, controlplane.ServeOptions{})
	client := connect(t, controlplane.Network(listener.dial, controlplane.NetworkOptions{CallTimeout: 200 * time.Millisecond}))
	_, err := authorize(t.Context(), client, "key")
	if !errors.Is(err, context.DeadlineExceeded) || drpcerr.Code(err) != 14 {
		t.Errorf("got %v with code %d, want context.DeadlineExceeded with code 14", err, drpcerr.Code(err))
	}
	<-ended
}

// TestStuckConnection makes a call over a connection that takes no more bytes.
func TestStuckConnection(t *testing.T) {
	t.Parallel()
	listener := newPipes()
	serve(t, listener, fake(echo), controlplane.ServeOptions{})
	var conn *stuckConn
	client := connect(t, controlplane.Network(func(ctx context.Context) (net.Conn, error) {
		inner, err := listener.dial(ctx)
		conn = &stuckConn{Conn: inner, closed: make(chan struct{})}
		return conn, err
	}, patient()))
	conn.stick()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := authorize(ctx, client, "key"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	if err := client.DRPCConn().Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the call and Close took %v on a connection that is stuck", took)
	}
}

// stuckConn is a connection whose writes block, once stuck, until it is closed.
type stuckConn struct {
	net.Conn
	mu     sync.Mutex
	stuck  bool
	once   sync.Once
	closed chan struct{}
}

func (c *stuckConn) stick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stuck = true
}

func (c *stuckConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	stuck := c.stuck
	c.mu.Unlock()
	if stuck {
		<-c.closed
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestDialFails checks that the dialer's error tells what kept it from connecting.
func TestDialFails(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cases := []struct {
		name     string
		ctx      context.Context
		dial     func(context.Context) (net.Conn, error)
		wantIs   error
		wantCode uint64
	}{
		{"refused", t.Context(), func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }, net.ErrClosed, 14},
		{"with a code of the caller's", t.Context(), func(context.Context) (net.Conn, error) {
			return nil, drpcerr.WithCode(net.ErrClosed, 16)
		}, net.ErrClosed, 16},
		{"by the context", ended, func(ctx context.Context) (net.Conn, error) { return nil, ctx.Err() }, context.Canceled, 0},
		{"no control plane there", t.Context(), func(context.Context) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				_, _ = server.Read(make([]byte, 12))
				_, _ = server.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			}()
			return client, nil
		}, yamux.ErrSessionShutdown, 14},
	}
	for _, c := range cases {
		_, err := controlplane.Network(c.dial, controlplane.NetworkOptions{})(c.ctx)
		if !errors.Is(err, c.wantIs) || drpcerr.Code(err) != c.wantCode {
			t.Errorf("%s: got %v with code %d, want %v with code %d", c.name, err, drpcerr.Code(err), c.wantIs, c.wantCode)
		}
	}
}

// TestDialHeedsContext dials a peer that reads everything and answers nothing.
func TestDialHeedsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan struct{})
	_, err := controlplane.Network(func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer close(drained)
			defer server.Close()
			for {
				if _, err := server.Read(make([]byte, 64)); err != nil {
					return // The dialer has closed its end.
				}
				cancel()
			}
		}()
		return client, nil
	}, controlplane.NetworkOptions{})(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	<-drained
}

// handlerFunc is a DRPC server without this project's code. It is called once the request has been read.
type handlerFunc func(stream drpc.Stream, rpc string) error

func (f handlerFunc) HandleRPC(stream drpc.Stream, rpc string) error {
	if err := stream.MsgRecv(nil, bytesEncoding{}); err != nil {
		return err
	}
	return f(stream, rpc)
}

// serveForeign serves DRPC over yamux as another host might, without anything that this package adds.
func serveForeign(t *testing.T, handler drpc.Handler) *pipes {
	listener := newPipes()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		config := yamux.DefaultConfig()
		config.LogOutput = t.Output()
		session, err := yamux.Server(conn, config)
		if err != nil {
			t.Error(err)
			return
		}
		_ = drpcserver.New(handler).Serve(ctx, session)
	})
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		serving.Wait()
	})
	return listener
}

// TestOlderServer calls a server that does not have RecordBatch.
func TestOlderServer(t *testing.T) {
	t.Parallel()
	mux := drpcmux.New()
	if err := proto.DRPCRegisterAuthorizer(mux, fake(echo)); err != nil {
		t.Fatal(err)
	}
	client := connect(t, controlplane.Network(serveForeign(t, mux).dial, patient()))
	for range 2 {
		if _, err := client.RecordBatch(t.Context(), &proto.RecordBatchRequest{}); drpcerr.Code(err) != drpcerr.Unimplemented {
			t.Errorf("got %v with code %d, want unimplemented", err, drpcerr.Code(err))
		}
		if name, err := authorize(t.Context(), client, "key"); err != nil || name != "key" {
			t.Errorf("got %q, %v", name, err)
		}
	}
}

// TestNonsense gets answers that cannot be read: the client must not take them for refusals.
func TestNonsense(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		answer handlerFunc
	}{
		{"no message", func(stream drpc.Stream, _ string) error { return stream.CloseSend() }},
		{"a closed stream", func(stream drpc.Stream, _ string) error { return stream.Close() }},
		{"garbage", func(stream drpc.Stream, _ string) error { return stream.MsgSend([]byte{0xff, 0xff}, bytesEncoding{}) }},
		{"more than DRPC reads", func(stream drpc.Stream, _ string) error {
			return stream.MsgSend(make([]byte, 5<<20), bytesEncoding{})
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			listener := serveForeign(t, handlerFunc(func(stream drpc.Stream, rpc string) error {
				if rpc == "/proto.Authorizer/IsAuthorized" {
					return c.answer(stream, rpc)
				}
				return stream.MsgSend([]byte{}, bytesEncoding{})
			}))
			client := connect(t, controlplane.Network(listener.dial, patient()))
			for range 2 {
				if _, err := authorize(t.Context(), client, "key"); drpcerr.Code(err) != 14 {
					t.Errorf("got %v with code %d, want code 14", err, drpcerr.Code(err))
				}
				if _, err := client.RecordBatch(t.Context(), &proto.RecordBatchRequest{}); err != nil {
					t.Errorf("the next call: %v", err)
				}
			}
		})
	}
}

type bytesEncoding struct{}

func (bytesEncoding) Marshal(msg drpc.Message) ([]byte, error) { return msg.([]byte), nil }
func (bytesEncoding) Unmarshal(_ []byte, _ drpc.Message) error { return nil }

// TestUnmarshalable sends text that protobuf cannot carry.
func TestUnmarshalable(t *testing.T) {
	t.Parallel()
	listener := newPipes()
	serve(t, listener, fake(echo), controlplane.ServeOptions{})
	client := connect(t, controlplane.Network(listener.dial, patient()))
	if _, err := authorize(t.Context(), client, "\xff"); drpcerr.Code(err) != 3 {
		t.Errorf("got %v with code %d, want code 3", err, drpcerr.Code(err))
	}
	if name, err := authorize(t.Context(), client, "key"); err != nil || name != "key" {
		t.Errorf("the next call: got %q, %v", name, err)
	}
}

// TestNoStreams asks for a streaming call, which the contract does not have.
func TestNoStreams(t *testing.T) {
	t.Parallel()
	listener := newPipes()
	serve(t, listener, fake(echo), controlplane.ServeOptions{})
	client := connect(t, controlplane.Network(listener.dial, patient()))
	if _, err := client.DRPCConn().NewStream(t.Context(), "/proto.Recorder/Watch", bytesEncoding{}); drpcerr.Code(err) != drpcerr.Unimplemented {
		t.Errorf("got %v with code %d, want unimplemented", err, drpcerr.Code(err))
	}
}
