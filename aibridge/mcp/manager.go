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

// ManagerOptions are the optional settings of a [Manager]; the zero value works.
type ManagerOptions struct {
	// Wait is how long Init waits for slow servers; 2 s if zero. The tools of a server that is not ready by then appear
	// once it is.
	Wait   time.Duration
	Logger slog.Logger
}

// Manager is a [ServerProxier] made of others. The tools of a server that cannot be reached are missing from Tools. The
// manager tries such a server again in the background, less and less often; no request and no other server waits for
// it.
type Manager struct {
	servers []ServerProxier
	wait    time.Duration
	logger  slog.Logger

	life       context.Context // Of all background work.
	end        context.CancelCauseFunc
	background sync.WaitGroup

	// mu guards what follows. No holder of mu blocks.
	mu     sync.Mutex
	closed bool
	// tried is closed once every server was tried once or wait is over; nil before Init.
	tried  chan struct{}
	merged *merged // The last one made, or nil.
}

var _ ServerProxier = (*Manager)(nil)

// NewManager returns a manager of servers and takes them over: its Init connects them and its Shutdown shuts them down.
// A manager without servers works and has no tools.
func NewManager(servers []ServerProxier, options ManagerOptions) *Manager {
	m := &Manager{servers: slices.Clone(servers), wait: options.Wait, logger: options.Logger}
	if m.wait == 0 {
		m.wait = defaultWait
	}
	m.life, m.end = context.WithCancelCause(context.Background())
	return m
}

// Init implements [ServerProxier]. It logs servers that fail and does not return their errors: an error is the cause of
// ctx's end, or [ErrClosed]. All calls share one wait: once it is over, later calls return at once.
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

// start connects all servers in the background. The caller holds mu.
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

// waitFor closes tried when all is closed, or once m.wait has passed.
func (m *Manager) waitFor(all <-chan struct{}) {
	defer close(m.tried)
	patience := time.NewTimer(m.wait)
	defer patience.Stop()
	select {
	case <-all:
	case <-patience.C:
	}
}

// keepTrying tries to connect a server until it succeeds or ctx ends. It calls tried after the first attempt.
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
