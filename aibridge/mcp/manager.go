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
	Wait time.Duration
	// Owner is whose sessions these are, for Late.
	Owner string
	// Late remembers the servers that were not ready within Wait: Init does not wait for these, but connects them all the
	// same. Nil means that nothing is remembered.
	Late   *Late
	Logger slog.Logger
}

// Manager is a [ServerProxier] made of others. The tools of a server that cannot be reached are missing from Tools. The
// manager tries such a server again in the background, less and less often; no request and no other server waits for
// it.
type Manager struct {
	servers []ServerProxier
	wait    time.Duration
	owner   string
	late    *Late
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
	m := &Manager{
		servers: slices.Clone(servers), wait: options.Wait, owner: options.Owner, late: options.Late, logger: options.Logger,
	}
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
	var awaited []connecting
	for _, server := range m.servers {
		c := connecting{server: server, known: m.known(server), tried: make(chan struct{})}
		m.background.Go(func() { m.keepTrying(ctx, c) })
		if !m.late.is(c.known) {
			awaited = append(awaited, c)
		}
	}
	m.background.Go(func() { m.waitFor(awaited) })
}

// connecting is a server that is being connected.
type connecting struct {
	server ServerProxier
	known  lateServer    // How Late knows it.
	tried  chan struct{} // Closed after the first attempt.
}

// known returns how Late knows a server.
func (m *Manager) known(server ServerProxier) lateServer {
	known := lateServer{owner: m.owner}
	if one, ok := server.(interface{ key() string }); ok {
		known.server = one.key()
	}
	return known
}

// waitFor closes tried once all the servers were tried, or m.wait has passed. It notes those that were late.
func (m *Manager) waitFor(awaited []connecting) {
	defer close(m.tried)
	patience := time.NewTimer(m.wait)
	defer patience.Stop()
	for i, c := range awaited {
		select {
		case <-c.tried:
		case <-patience.C:
			m.noteLate(awaited[i:])
			return
		case <-m.life.Done():
			return
		}
	}
}

// noteLate notes the servers that were not tried yet.
func (m *Manager) noteLate(awaited []connecting) {
	for _, c := range awaited {
		select {
		case <-c.tried:
		default:
			m.late.note(c.known)
		}
	}
}

// keepTrying tries to connect a server until it succeeds or ctx ends.
func (m *Manager) keepTrying(ctx context.Context, c connecting) {
	report := sync.OnceFunc(func() { close(c.tried) })
	defer report()
	began := time.Now()
	for delay := firstRetry; ; delay = min(2*delay, lastRetry) {
		err := c.server.Init(ctx)
		if err == nil && time.Since(began) < m.wait {
			m.late.forget(c.known)
		}
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

// IsEmpty reports whether the manager has no servers: it never has tools.
func (m *Manager) IsEmpty() bool { return len(m.servers) == 0 }

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
