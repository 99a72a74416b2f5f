// Package aibridged is an AI gateway to embed: it stands between AI clients and providers, authorises each request with
// a control plane, holds the providers' keys, relays the traffic untouched and at once, and records who asked what, what
// it cost and which tools the model called.
//
//	pool, err := aibridged.NewCachedBridgePool(aibridged.PoolOptions{}, providers, logger, nil, tracer)
//	server, err := aibridged.New(ctx, pool, dialer, logger, tracer)
//	http.Handle("/api/v2/aibridged/", server)
//	defer server.Close()
//
// The control plane is a [DRPCServer]: package controlplane dials one in the same process or over the network, package
// aibridgedserver is one over a SQL database. Providers are values of package aibridge. A host's own code reaches the
// gateway without a network through [NewTransportFactory].
//
// Records wait for the control plane in memory, or in a directory that [NewServer] is given. The server tries to
// deliver them until the control plane has taken them.
//
// The package opens no listener and reads no environment.
package aibridged

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/xerrors"

	"github.com/coder/aibridged/internal/recording"
	"github.com/coder/aibridged/internal/strangers"
	"github.com/coder/aibridged/proto"
)

// The errors with which a [Server] answers requests. The client learns nothing but their texts.
var (
	// ErrNoAuthKey means that a request carries no token: 400.
	ErrNoAuthKey = xerrors.New("no authentication key provided")
	// ErrConnect means that the control plane could not be asked: 503.
	ErrConnect = xerrors.New("could not connect to coderd")
	// ErrUnauthorized means that the control plane refused the token: 403.
	ErrUnauthorized = xerrors.New("unauthorized")
	// ErrAcquireRequestHandler means that the pool had no bridge for the user: 500, or 503 where the connection to the
	// control plane was lost meanwhile.
	ErrAcquireRequestHandler = xerrors.New("failed to acquire request handler")
)

// errClosed is the reason why a server that is shutting down gives no client and takes no request.
var errClosed = xerrors.New("server is shut down")

const (
	// closeTimeout is how long Close lets requests finish.
	closeTimeout = 5 * time.Second

	dialBackoffMin = 50 * time.Millisecond
	dialBackoffMax = 10 * time.Second // Unless an option says otherwise.
	// steady is how long a connection must last before the next dial starts from the shortest pause. It is also the
	// longest pause after a connection that lasted less.
	steady = time.Second
)

// Server is the gateway: an [http.Handler] for /api/v2/aibridged/<provider>/…. It keeps a connection to its control
// plane up for as long as it lives. It is safe for concurrent use.
type Server struct {
	pool   Pooler
	lend   acquireFunc // The pool's, for requests that are certain to be served.
	tools  MCPProxyBuilder
	dialer Dialer
	logger slog.Logger
	tracer trace.Tracer

	// dialing ends with New's context or in Shutdown. serving, under which requests run, and attached, under which the
	// connection stays open, end in Shutdown. connected ends with the dial loop: after that there is no control plane.
	dialing    context.Context
	stopDial   context.CancelFunc
	serving    context.Context
	stopServe  context.CancelCauseFunc
	attached   context.Context
	detach     context.CancelFunc
	connected  context.Context
	disconnect context.CancelFunc
	loop       sync.WaitGroup

	connectWait time.Duration // See [ServerOptions].
	dialPause   time.Duration // The longest.

	records   *recording.Queue
	strangers *strangers.Gate
	findToken func(text string) (start, end int) // Nil: the form of Coder's API keys.

	mu       sync.Mutex
	client   DRPCClient    // Guarded by mu; nil while there is no connection.
	changed  chan struct{} // Guarded by mu; closed and replaced whenever client changes.
	met      bool          // Guarded by mu; there has been a connection.
	closing  bool          // Guarded by mu; no new requests.
	inFlight sync.WaitGroup
	running  running

	closed   chan struct{} // Closed when Shutdown has done its work.
	closeErr error         // Set before closed is.
}

// ServerOptions are the optional settings of a server. The zero value works.
type ServerOptions struct {
	// Logger gets the log. The zero Logger writes nothing.
	Logger slog.Logger
	// Tracer gets the spans. Nil means none.
	Tracer trace.Tracer
	// Metrics count the records that wait, are delivered or are lost. Nil means none.
	Metrics *Metrics
	// Records says where records are kept until the control plane has them.
	Records RecordOptions
	// MCP are the limits of users' sessions with MCP servers.
	MCP MCPOptions
	// ConnectWait is how long a request waits for the control plane in all: for the answer about its token, also of one that is
	// silent, and for another connection if that is lost. Zero: ten seconds for an answer, and for a connection as long as its
	// client does.
	ConnectWait time.Duration
	// DialPause is the longest pause between two attempts to connect with a control plane that is away: pauses double up to it. Zero:
	// ten seconds.
	DialPause time.Duration
	// FindToken returns where in a text the first token of the control plane begins and ends, by its form alone, or a
	// start below zero. No such token goes upstream, whether or not it is the one that the request presents; see
	// [aibridge.Caller]. It is called for each part of each request, also concurrently. Nil: the form of Coder's API keys.
	FindToken func(text string) (start, end int)
}

// New returns a server that serves through pool, and begins to dial the control plane. It dials until [Server.Shutdown]
// or the end of ctx; a connection that is open when ctx ends stays open until Shutdown. The server owns the pool from
// then on: Shutdown shuts it down. Records wait for the control plane in memory; [NewServer] can keep them on disk.
func New(ctx context.Context, pool Pooler, rpcDialer Dialer, logger slog.Logger, tracer trace.Tracer) (*Server, error) {
	if tracer == nil {
		return nil, xerrors.New("nil tracer given")
	}
	return NewServer(ctx, pool, rpcDialer, ServerOptions{Logger: logger, Tracer: tracer})
}

// NewServer is [New] with options. It also fails where the records' directory cannot be used, and says why in one line.
// If an earlier server on the same directory was killed, NewServer records the interceptions that were running then as
// ended.
func NewServer(ctx context.Context, pool Pooler, rpcDialer Dialer, options ServerOptions) (*Server, error) {
	switch {
	case pool == nil:
		return nil, xerrors.New("nil pool given")
	case rpcDialer == nil:
		return nil, xerrors.New("nil rpc dialer given")
	}
	if options.DialPause <= 0 {
		options.DialPause = dialBackoffMax
	}
	if options.Tracer == nil {
		options.Tracer = noop.NewTracerProvider().Tracer("aibridged")
	}
	records, err := options.Records.open(options.Logger)
	if err != nil {
		return nil, err
	}
	s := &Server{
		pool: pool, lend: lenderOf(pool), dialer: rpcDialer, logger: options.Logger, tracer: options.Tracer, records: records,
		connectWait: options.ConnectWait, dialPause: options.DialPause, findToken: options.FindToken, strangers: strangers.New(isUnauthorized), changed: make(chan struct{}), closed: make(chan struct{}),
		running: running{byID: map[uint64]*runningRequest{}},
	}
	s.tools = NewMCPProxyFactory(s.logger, s.tracer, s.clientNow).WithOptions(options.MCP)
	s.dialing, s.stopDial = context.WithCancel(ctx)
	s.serving, s.stopServe = context.WithCancelCause(context.WithoutCancel(ctx))
	s.attached, s.detach = context.WithCancel(context.WithoutCancel(ctx))
	s.connected, s.disconnect = context.WithCancel(context.WithoutCancel(ctx))
	options.Metrics.watch(records)
	if pool, ok := pool.(recordingPool); ok {
		pool.RecordInto(noting{records})
	} else if options.Records.Directory != "" {
		s.logger.Warn(ctx, "the pool takes no recorder: its bridges record straight to the control plane, and the directory for records stays empty",
			slog.F("dir", options.Records.Directory))
	}
	s.loop.Go(s.keepConnected)
	records.Deliver(func(ctx context.Context) (proto.DRPCRecorderClient, error) { return s.clientWithin(ctx) })
	return s, nil
}

// keepConnected dials, waits for the connection to close, and dials again.
func (s *Server) keepConnected() {
	defer s.disconnect()
	defer s.stopDial() // Waiting for a client is in vain from here on.
	defer s.setClient(nil)
	for backoff := dialBackoffMin; s.dialing.Err() == nil; {
		client := s.dial()
		if client == nil {
			return
		}
		began := time.Now()
		s.setClient(client)
		s.logger.Debug(s.dialing, "connected to the control plane")
		conn := client.DRPCConn()
		if conn == nil {
			<-s.attached.Done() // A control plane in this process cannot be lost.
			return
		}
		select {
		case <-conn.Closed():
			s.setClient(nil)
			s.logger.Info(s.dialing, "lost the connection to the control plane")
			if time.Since(began) >= steady {
				backoff = dialBackoffMin
				continue
			}
			s.pause(backoff)
			backoff = min(2*backoff, steady)
		case <-s.attached.Done():
			if err := conn.Close(); err != nil {
				s.logger.Debug(s.dialing, "closing the connection to the control plane", slog.Error(err))
			}
			return
		}
	}
}

// dial returns a client, or nil where the server is closed or the dialer says that there will be none.
func (s *Server) dial() DRPCClient {
	for backoff := min(dialBackoffMin, s.dialPause); s.dialing.Err() == nil; backoff = min(2*backoff, s.dialPause) {
		client, err := s.dialer(s.dialing)
		switch {
		case err == nil && client != nil:
			return client
		case s.dialing.Err() != nil, errors.Is(err, context.Canceled):
			return nil
		}
		s.logger.Warn(s.dialing, "dialing the control plane failed", slog.Error(err))
		s.pause(backoff)
	}
	return nil
}

// pause waits for a random time between half of longest and longest, so that many gateways do not come back at the same
// moment. It returns early when the server ends.
func (s *Server) pause(longest time.Duration) {
	timer := time.NewTimer(longest/2 + rand.N(longest/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.dialing.Done():
	}
}

func (s *Server) setClient(client DRPCClient) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = client
	s.met = s.met || client != nil
	close(s.changed)
	s.changed = make(chan struct{})
}

// Client returns a client of the control plane. While there is none, it waits for one until the server ends; then it
// fails with [ErrConnect].
func (s *Server) Client() (DRPCClient, error) {
	return s.clientWithin(s.serving)
}

// clientWithin waits for a client no longer than ctx lasts.
func (s *Server) clientWithin(ctx context.Context) (DRPCClient, error) {
	for {
		s.mu.Lock()
		client, changed := s.client, s.changed
		s.mu.Unlock()
		if client != nil {
			return client, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ErrConnect
		case <-s.dialing.Done():
			return nil, ErrConnect
		}
	}
}

// clientNow returns the current client, or [ErrConnect] while there is no connection.
func (s *Server) clientNow() (DRPCClient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil, ErrConnect
	}
	return s.client, nil
}

// Ready returns nil if the server should be given requests, or else the reason why not, in one line: it is shutting down,
// has no connection to its control plane, or can keep no records. Records are in the way where the queue refuses them,
// has been more than half full for a minute, or its disk cannot be written, which Ready tries. It is for the checks of a
// balancer, once every few seconds.
func (s *Server) Ready() error {
	s.mu.Lock()
	closing, away := s.closing, s.client == nil
	s.mu.Unlock()
	switch {
	case closing:
		return errClosed
	case away:
		return ErrConnect
	}
	if err := s.records.Ready(); err != nil {
		return xerrors.Errorf("records: %w", err)
	}
	return nil
}

// Shutdown refuses new requests, waits until those in flight have finished and their records are delivered, shuts the
// pool down and closes the connection to the control plane. When ctx ends first, it cancels the requests; their ends
// are recorded all the same. Records that are not delivered by then stay in their directory for the next server.
// Records in memory get five seconds more; if any are lost then, Shutdown returns an error. A later call waits for the
// result of the first, but no longer than its own ctx lasts.
//
// Where a call to the disk or to a control plane in this process hangs, Shutdown fails some seconds after ctx has ended.
// The goroutines in those calls end when the calls return.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	s.mu.Unlock()
	if first {
		s.closeErr = s.drain(ctx)
		close(s.closed)
		return s.closeErr
	}
	select {
	case <-s.closed:
		return s.closeErr
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close is Shutdown with a limit of five seconds.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

// stuckGrace is how much longer than its context Shutdown waits for what cannot be cancelled.
const stuckGrace = time.Second

// endsWithin waits until done is closed, at most for a time, and reports whether it is.
func endsWithin(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

func (s *Server) drain(ctx context.Context) error {
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		s.inFlight.Wait()
	}()
	var cutShort error
	select {
	case <-finished:
	case <-ctx.Done():
		cutShort = xerrors.Errorf("requests were cancelled: %w", context.Cause(ctx))
		s.stopServe(errClosed)
		if !endsWithin(finished, stuckGrace) { // Cancelled requests end at once, unless a call to the disk hangs.
			cutShort = xerrors.Errorf("requests were cancelled and have not ended, the disk may not answer: %w", context.Cause(ctx))
		}
	}
	err := errors.Join(cutShort, s.pool.Shutdown(ctx), s.records.Close(ctx, s.connected))
	s.stopServe(errClosed)
	s.stopDial()
	s.detach()
	s.loop.Wait()
	return err
}
