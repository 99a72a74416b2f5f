package controlplane

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"storj.io/drpc/drpcserver"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/proto"
)

// TestHeartbeat has a link whose other end stops answering without closing the connection.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	for _, silence := range []time.Duration{defaultSilence, 7 * time.Second} {
		if h := heartbeatWithin(silence); h.interval+2*h.timeout > silence || h.interval <= 0 || h.timeout <= 0 {
			t.Errorf("a silent link is noticed after %v, want %v", h.interval+2*h.timeout, silence)
		}
	}
	near, far := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer far.Close()
		ping := make([]byte, 12)
		_, _ = far.Read(ping)
		ping[3] |= 2 // Sets the flag of an answer. A header is version, type, two bytes of flags, and more.
		ping[3] &^= 1
		_, _ = far.Write(ping)
		for {
			if _, err := far.Read(ping); err != nil {
				return
			}
		}
	}()
	session, err := connect(t.Context(), func(context.Context) (net.Conn, error) { return near, nil },
		heartbeat{interval: 20 * time.Millisecond, timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	link := newLink(session, time.Minute)
	<-link.Closed()
	if err := link.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	<-served
}

// TestCancelledCallsLeaveNothing cancels calls at many moments: before they are sent, while the server answers, and
// afterwards.
func TestCancelledCallsLeaveNothing(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	handler, err := newHandler(&authorizer{}, slog.Logger{})
	if err != nil {
		t.Fatal(err)
	}
	end := &endpoint{rpcs: drpcserver.New(handler), config: sessionConfig(heartbeatWithin(defaultSilence))}
	served := make(chan struct{})
	go func() {
		defer close(served)
		end.serveConn(context.Background(), far)
	}()
	session, err := connect(t.Context(), func(context.Context) (net.Conn, error) { return near, nil }, heartbeatWithin(defaultSilence))
	if err != nil {
		t.Fatal(err)
	}
	link := newLink(session, time.Minute)
	client := proto.NewDRPCAuthorizerClient(link)
	for i := range 500 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Microsecond)
		_, _ = client.IsAuthorized(ctx, &proto.IsAuthorizedRequest{})
		cancel()
	}
	// The session forgets a stream that both ends have closed. Only the one in the pool remains.
	for began := time.Now(); session.NumStreams() > 1; runtime.Gosched() {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%d streams are left open", session.NumStreams())
		}
	}
	if _, err := client.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{}); err != nil {
		t.Errorf("a call after all the others: %v", err)
	}
	if err := link.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	<-served
}

type authorizer struct {
	proto.DRPCRecorderUnimplementedServer
	proto.DRPCMCPConfiguratorUnimplementedServer
}

func (*authorizer) IsAuthorized(context.Context, *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
	return &proto.IsAuthorizedResponse{}, nil
}
