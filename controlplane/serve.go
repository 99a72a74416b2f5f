package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"cdr.dev/slog/v3"
	"github.com/hashicorp/yamux"
	"storj.io/drpc/drpcmanager"
	"storj.io/drpc/drpcserver"

	"github.com/coder/aibridged"
)

// ServeOptions are the options of [Serve]. The zero value is ready to use.
type ServeOptions struct {
	// Logger gets panics of the server with their stacks, and errors of the listener. The zero Logger is silent.
	Logger slog.Logger
	// Admit is called with each connection before anything is served on it, in a goroutine of its own. It returns the
	// connection to serve, which may be another one around it, or an error for a client that is not to be served; it then
	// closes the connection. It must bound the time that it takes. Ctx ends with Serve. Nil: every client is served.
	Admit func(ctx context.Context, conn net.Conn) (net.Conn, error)
}

// Serve answers clients of [Network] on the connections that listener accepts, until ctx ends or the listener fails.
// When ctx ends, Serve closes the listener and every connection, cancels the contexts of the handlers, waits for the
// handlers, and returns nil. When the listener fails, it does the same and returns the error. A handler that panics
// makes only its own call fail. Serve calls server from many goroutines.
func Serve(ctx context.Context, listener net.Listener, server aibridged.DRPCServer, options ServeOptions) error {
	handler, err := newHandler(server, options.Logger)
	if err != nil {
		return err
	}
	endpoint := &endpoint{
		rpcs: drpcserver.NewWithOptions(handler, drpcserver.Options{
			Manager: drpcmanager.Options{SoftCancel: true},
		}),
		config: sessionConfig(heartbeatWithin(defaultSilence)),
		admit:  options.Admit,
		logger: options.Logger,
	}
	return endpoint.serve(ctx, listener)
}

// endpoint is the server's end of the connections.
type endpoint struct {
	rpcs   *drpcserver.Server
	config *yamux.Config
	admit  func(ctx context.Context, conn net.Conn) (net.Conn, error) // Nil: everybody is served.
	logger slog.Logger
}

func (e *endpoint) serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	conns.Go(func() {
		<-ctx.Done()
		_ = listener.Close() // Nothing can be done about an error.
	})

	pause := newBackoff()
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			pause.reset()
			conns.Go(func() { e.serveConn(ctx, conn) })
		case ctx.Err() != nil:
			return nil
		case !passes(err):
			return fmt.Errorf("accept on %s: %w", listener.Addr(), err)
		default:
			e.logger.Warn(ctx, "cannot accept a connection to the control plane", slog.Error(err))
			pause.wait(ctx)
		}
	}
}

// passes reports whether accepting may succeed later: err says that a resource is short, which is free again once other
// connections have ended, or that one connection was aborted.
func passes(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ECONNABORTED)
}

// serveConn serves one client until either end closes the connection or ctx ends.
func (e *endpoint) serveConn(ctx context.Context, conn net.Conn) {
	if e.admit != nil {
		heard := &heardConn{Conn: conn}
		admitted, err := e.admit(ctx, heard)
		if err != nil && heard.isProbe() {
			e.logger.Debug(ctx, "a connection to the control plane was closed before it said anything", slog.F("remote", conn.RemoteAddr().String()))
			return
		}
		if err != nil {
			e.logger.Warn(ctx, "a connection to the control plane was refused", slog.F("remote", conn.RemoteAddr().String()), slog.Error(err))
			return
		}
		conn = admitted
	}
	session, err := yamux.Server(conn, e.config)
	if err != nil {
		e.logger.Error(ctx, "cannot serve a connection to the control plane", slog.Error(err))
		_ = conn.Close()
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var streams sync.WaitGroup
	defer streams.Wait()
	defer session.Close()
	defer cancel()
	streams.Go(func() {
		<-ctx.Done()
		session.Close()
	})
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return // The client has gone or its connection broke. Its calls fail with that.
		}
		streams.Go(func() {
			_ = e.rpcs.ServeOne(ctx, stream) // It always returns an error, since every connection ends.
		})
	}
}

// backoff is a pause that doubles each time, up to lastPause.
type backoff struct{ next time.Duration }

const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

func newBackoff() *backoff { return &backoff{next: firstPause} }

func (b *backoff) reset() { b.next = firstPause }

func (b *backoff) wait(ctx context.Context) {
	timer := time.NewTimer(b.next)
	defer timer.Stop()
	b.next = min(2*b.next, lastPause)
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
