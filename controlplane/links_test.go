package controlplane_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/controlplane"
)

// link is a way to connect a gateway with its control plane.
type link struct {
	name    string
	limited bool // Messages have a largest size.
	dialer  func(testing.TB, aibridged.DRPCServer) aibridged.Dialer
}

func links() []link {
	return []link{
		{"in process", false, func(_ testing.TB, server aibridged.DRPCServer) aibridged.Dialer {
			return controlplane.InProcess(server)
		}},
		{"pipe", true, func(t testing.TB, server aibridged.DRPCServer) aibridged.Dialer {
			listener := newPipes()
			serve(t, listener, server, controlplane.ServeOptions{})
			return controlplane.Network(listener.dial, patient())
		}},
		{"TCP", true, func(t testing.TB, server aibridged.DRPCServer) aibridged.Dialer {
			listener := listenTCP(t)
			serve(t, listener, server, controlplane.ServeOptions{})
			return controlplane.Network(dialTCP(listener), patient())
		}},
	}
}

// patient returns options with which no call fails because the machine is slow.
func patient() controlplane.NetworkOptions {
	return controlplane.NetworkOptions{CallTimeout: 2 * time.Minute}
}

// connect dials. When the test ends, it closes the connection, if there is one.
func connect(t testing.TB, dialer aibridged.Dialer) aibridged.DRPCClient {
	t.Helper()
	client, err := dialer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if conn := client.DRPCConn(); conn != nil {
			if err := conn.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
	return client
}

// serve runs Serve until the test ends or stop is called, which also wait for its end.
func serve(t testing.TB, listener net.Listener, server aibridged.DRPCServer, options controlplane.ServeOptions) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- controlplane.Serve(ctx, listener, server, options) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func listenTCP(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func dialTCP(listener net.Listener) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", listener.Addr().String())
	}
}

// pipes is a listener of net.Pipe connections, which have no buffer at all.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newPipes() *pipes {
	done := make(chan struct{})
	return &pipes{conns: make(chan net.Conn), done: done, close: sync.OnceFunc(func() { close(done) })}
}

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }
