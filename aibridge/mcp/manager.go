package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel/trace"
)

const (
	defaultWait = 2 * time.Second
	firstRetry  = 30 * time.Second
	lastRetry   = 10 * time.Minute
)

// ManagerOptions are what a [Manager] can do without; the zero value works.
type ManagerOptions struct {
	// Wait is how long Init waits for slow servers; 2 s if zero. What is not ready by then joins when it is.
	Wait   time.Duration
	Logger slog.Logger
}

// Manager is a [ServerProxier] made of others. A server that cannot be reached is missing from Tools, and tried again
// in the background ever less often; it keeps no request waiting and no other server from working.
type Manager struct {
	servers []ServerProxier
	wait    time.Duration
	logger  slog.Logger

	life       context.Context // Of all that works in the background.
	end        context.CancelCauseFunc
	background sync.WaitGroup

	// mu guards what follows. Nothing waits while it holds mu.
	mu     sync.Mutex
	closed bool
	// tried is closed once all servers were tried or wait is over; nil before Init.
	tried  chan struct{}
	merged *merged // The last one made, or nil.
}

var _ ServerProxier = (*Manager)(nil)

// NewManager returns a manager of servers, which are the manager's from then on: its Init connects them and its
// Shutdown shuts them down. No servers is no tools.
func NewManager(servers []ServerProxier, options ManagerOptions) *Manager {
	m := &Manager{servers: slices.Clone(servers), wait: options.Wait, logger: options.Logger}
	if m.wait == 0 {
		m.wait = defaultWait
	}
	m.life, m.end = context.WithCancelCause(context.Background())
	return m
}

// Init implements [ServerProxier]. Servers that fail are told of in the log: the error is of ctx, or [ErrClosed]. A
// second call does not wait for what the first had enough of.
func (m *Manager) Init(ctx context.Context) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	if m.tried == nil {
		m.tried = make(chan struct{})
		m.start(trace.SpanContextFromContext(ctx))
	}
	tried := m.tried
	m.mu.Unlock()
	select {
	case <-tried:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// start connects all servers in the background. It is called with mu held.
func (m *Manager) start(parent trace.SpanContext) {
	ctx := trace.ContextWithSpanContext(m.life, parent)
	var first sync.WaitGroup
	for _, server := range m.servers {
		first.Add(1)
		m.background.Go(func() { m.keepTrying(ctx, server, first.Done) })
	}
	all := make(chan struct{})
	m.background.Go(func() {
		first.Wait()
		close(all)
	})
	m.background.Go(func() { m.waitFor(all) })
}

// waitFor closes tried when all is closed, or the time for that is over.
func (m *Manager) waitFor(all <-chan struct{}) {
	defer close(m.tried)
	patience := time.NewTimer(m.wait)
	defer patience.Stop()
	select {
	case <-all:
	case <-patience.C:
	}
}

// keepTrying connects a server, however many attempts it takes, and reports when the first is over.
func (m *Manager) keepTrying(ctx context.Context, server ServerProxier, tried func()) {
	report := sync.OnceFunc(tried)
	defer report()
	for delay := firstRetry; ; delay = min(2*delay, lastRetry) {
		err := server.Init(ctx)
		report()
		if err == nil || ctx.Err() != nil {
			return
		}
		jittered := delay/2 + rand.N(delay)
		m.logger.Warn(ctx, "MCP server is left out for now", slog.Error(err), slog.F("retry_in", jittered))
		if pause(ctx, jittered) != nil {
			return
		}
	}
}

// Tools implements [ServerProxier].
func (m *Manager) Tools() []Tool {
	return m.merge().tools
}

// Call implements [ServerProxier].
func (m *Manager) Call(ctx context.Context, toolID string, input json.RawMessage) (Result, error) {
	to, ok := m.merge().routes[toolID]
	if !ok {
		return Result{}, unknownTool(toolID)
	}
	return to.server.Call(ctx, to.toolID, input)
}

// Shutdown implements [ServerProxier].
func (m *Manager) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.end(ErrClosed)
	errs := make([]error, len(m.servers))
	var all sync.WaitGroup
	for i, server := range m.servers {
		all.Go(func() { errs[i] = server.Shutdown(ctx) })
	}
	all.Wait()
	m.background.Wait()
	return errors.Join(errs...)
}
