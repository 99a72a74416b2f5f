package aibridged

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/xerrors"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/lease"
)

// Pooler keeps users' bridges. Its methods are safe for concurrent use.
type Pooler interface {
	// Acquire returns the handler of a user's bridge, and makes the bridge where there is none. The handler serves one
	// request. It stays valid until that request has been served or ctx has ended, whatever becomes of the bridge
	// meanwhile; but Shutdown waits only a few seconds for a handler that has no request.
	Acquire(ctx context.Context, req Request, clientFn ClientFunc, mcpBootstrapper MCPProxyBuilder) (http.Handler, error)
	// ReplaceProviders makes every later Acquire serve these providers and no others.
	ReplaceProviders(providers []aibridge.Provider)
	// Shutdown refuses further Acquires and returns once all bridges are closed, each after the last of its requests.
	// It does not wait for ever for handlers that were acquired and not used: after some seconds, these answer 503.
	// When ctx ends first, it fails; bridges in use by then are still closed after their last request. Further calls
	// wait for the same end.
	Shutdown(ctx context.Context) error
}

// PoolOptions are the limits of a pool. A field that is zero has the value in [DefaultPoolOptions].
type PoolOptions struct {
	// MaxItems is how many bridges are kept; the least recently used one is evicted first.
	MaxItems int64
	// TTL is how long a bridge is kept, whether it is used or not.
	TTL time.Duration
}

// DefaultPoolOptions suit most gateways.
var DefaultPoolOptions = PoolOptions{MaxItems: 5000, TTL: 15 * time.Minute}

// PoolMetrics are the counts of a pool's cache since it was made. It is safe for concurrent use.
type PoolMetrics interface {
	// Hits counts the Acquires that found a bridge, or one being built.
	Hits() uint64
	// Misses counts the Acquires that began a build.
	Misses() uint64
	// KeysAdded counts the bridges that entered the cache.
	KeysAdded() uint64
	// KeysEvicted counts the bridges that left the cache for any reason: KeysAdded less KeysEvicted are in it.
	KeysEvicted() uint64
}

// CachedBridgePool is a [Pooler] that keeps one bridge for each initiator and API key, for a time and up to a number.
// Eviction, expiry, new providers and shutdown only unlink a bridge; the last request that uses it closes it.
type CachedBridgePool struct {
	logger  slog.Logger
	metrics *aibridge.Metrics
	tracer  trace.Tracer
	bridges *lease.Pool[poolKey, *aibridge.RequestBridge]
	// For providers that were given none, also for those that replace them.
	memory    *aibridge.Memory
	upstreams *aibridge.Upstreams
	retries   chan struct{} // Holds one for each bridge that tries to build its tools again.

	remember      sync.Once
	conversations *aibridge.Conversations // Of all bridges. Set by remember.
	turns         *turnQueue              // What these keep. Set by remember.

	mu        sync.Mutex
	limits    aibridge.ToolLimits   // Guarded by mu.
	recorder  aibridge.Recorder     // Guarded by mu. Nil: bridges record straight to the control plane.
	providers *aibridge.ProviderSet // Guarded by mu; the set for the bridges that are built from now on.
	empty     bool                  // Guarded by mu; there are no providers.
	closed    bool                  // Guarded by mu.
}

var _ Pooler = (*CachedBridgePool)(nil)

// poolKey identifies the owner of a bridge. A delegated request has no session key for the host's own tools, so it gets
// a bridge of its own.
type poolKey struct {
	initiator uuid.UUID
	apiKeyID  string
	delegated bool
}

// NewCachedBridgePool returns an empty pool that serves providers. It fails where options are negative or two providers
// share a name. Metrics may be nil. The caller must shut the pool down.
func NewCachedBridgePool(options PoolOptions, providers []aibridge.Provider, logger slog.Logger, metrics *aibridge.Metrics, tracer trace.Tracer) (*CachedBridgePool, error) {
	if options.MaxItems < 0 || options.TTL < 0 {
		return nil, xerrors.Errorf("pool options: MaxItems %d and TTL %s must not be negative", options.MaxItems, options.TTL)
	}
	if tracer == nil {
		return nil, xerrors.New("nil tracer given")
	}
	if options.MaxItems == 0 {
		options.MaxItems = DefaultPoolOptions.MaxItems
	}
	if options.TTL == 0 {
		options.TTL = DefaultPoolOptions.TTL
	}
	memory, upstreams := aibridge.NewMemory(0), aibridge.NewUpstreams()
	set, err := aibridge.NewProviderSet(upstreams.Share(memory.Share(providers))...)
	if err != nil {
		return nil, xerrors.Errorf("providers: %w", err)
	}
	metrics.Watch(set)
	bridges, err := lease.New[poolKey, *aibridge.RequestBridge](int(options.MaxItems), options.TTL)
	if err != nil {
		return nil, xerrors.Errorf("pool options: %w", err)
	}
	return &CachedBridgePool{
		logger: logger, metrics: metrics, tracer: tracer, bridges: bridges, memory: memory, upstreams: upstreams, providers: set, empty: len(providers) == 0,
		retries: make(chan struct{}, toolsRetries),
	}, nil
}

// Acquire implements [Pooler].
func (p *CachedBridgePool) Acquire(ctx context.Context, req Request, clientFn ClientFunc, mcpBootstrapper MCPProxyBuilder) (http.Handler, error) {
	bridge, err := p.hold(ctx, req, clientFn, mcpBootstrapper)
	if err != nil {
		return nil, err
	}
	bridge.ReleaseAfter(ctx)
	return bridge, nil
}

// acquireFunc is the type of Acquire.
type acquireFunc func(ctx context.Context, req Request, clientFn ClientFunc, mcpBootstrapper MCPProxyBuilder) (http.Handler, error)

// lenderOf returns lend for a pool of this package, which costs less than Acquire; for any other pool it returns
// Acquire.
func lenderOf(pool Pooler) acquireFunc {
	if cached, ok := pool.(*CachedBridgePool); ok {
		return cached.lend
	}
	return pool.Acquire
}

// lend is Acquire for a caller that is certain to serve the handler: the end of ctx does not release the bridge.
func (p *CachedBridgePool) lend(ctx context.Context, req Request, clientFn ClientFunc, mcpBootstrapper MCPProxyBuilder) (http.Handler, error) {
	bridge, err := p.hold(ctx, req, clientFn, mcpBootstrapper)
	if err != nil {
		return nil, err
	}
	return bridge, nil
}

// hold returns the bridge for a request and holds it until the request has been served or the bridge is released.
func (p *CachedBridgePool) hold(ctx context.Context, req Request, clientFn ClientFunc, mcpBootstrapper MCPProxyBuilder) (_ leasedBridge, err error) {
	ctx, span := p.tracer.Start(ctx, "CachedBridgePool.Acquire")
	defer func() {
		if err != nil {
			span.SetStatus(codes.Error, "no bridge")
		}
		span.End()
	}()
	if ctx.Err() != nil {
		return leasedBridge{}, xerrors.Errorf("acquire: %w", context.Cause(ctx))
	}
	key := poolKey{initiator: req.InitiatorID, apiKeyID: req.APIKeyID, delegated: req.SessionKey == ""}
	if held := p.bridges.Get(key); held != nil {
		span.AddEvent("cache_hit")
		return leasedBridge{held}, nil
	}
	plan := bridgePlan{req: req, clientFn: clientFn, mcpBootstrapper: mcpBootstrapper, parent: span.SpanContext()}
	held, hit, err := p.bridges.Acquire(ctx, key, p.builder(plan))
	switch {
	case errors.Is(err, lease.ErrClosed):
	case hit:
		span.AddEvent("cache_hit")
	default:
		span.AddEvent("cache_miss")
	}
	if err != nil {
		return leasedBridge{}, xerrors.Errorf("acquire: %w", err)
	}
	return leasedBridge{held}, nil
}

// leasedBridge is the handler that Acquire returns.
type leasedBridge struct {
	*lease.Lease[poolKey, *aibridge.RequestBridge]
}

// ServeHTTP implements [http.Handler].
func (b leasedBridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !b.Use(func(bridge *aibridge.RequestBridge) { bridge.ServeHTTP(w, r) }) {
		apierror.ForPath(r.URL.Path).Write(w, r, &apierror.Error{
			Status: http.StatusServiceUnavailable, Text: ErrAcquireRequestHandler.Error(), RetryAfter: retryConnect,
		})
	}
}

// ReplaceProviders implements [Pooler]. It does not take a set in which two providers share a name, nor an empty set in
// place of one that is not empty: it logs that, and the previous providers go on serving. To serve none, disable them, or call
// RemoveProviders. After Shutdown it does nothing.
func (p *CachedBridgePool) ReplaceProviders(providers []aibridge.Provider) {
	p.replace(providers, false)
}

// RemoveProviders is ReplaceProviders for a host that is certain that there are no providers any more, and not that it could not
// find them: every path is then unknown.
func (p *CachedBridgePool) RemoveProviders() { p.replace(nil, true) }

func (p *CachedBridgePool) replace(providers []aibridge.Provider, mayBeNone bool) {
	before, err := p.replaceProviders(providers, mayBeNone)
	if err != nil {
		p.logger.Error(context.Background(), "the new providers were not taken, the previous ones go on serving", slog.Error(err))
	}
	if before != nil {
		p.bridges.UnlinkAll()
		before.CloseIdleConnections()
	}
}

// replaceProviders returns the set that was replaced, nil where none was.
func (p *CachedBridgePool) replaceProviders(providers []aibridge.Provider, mayBeNone bool) (before *aibridge.ProviderSet, err error) {
	set, err := aibridge.NewProviderSet(p.upstreams.Share(p.memory.Share(providers))...)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, nil
	case len(providers) == 0 && !p.empty && !mayBeNone:
		return nil, xerrors.New("no providers given")
	}
	set.Succeed(p.providers)
	p.metrics.Watch(set)
	before, p.providers, p.empty = p.providers, set, len(providers) == 0
	return before, nil
}

// LimitTools sets what tools of the gateway may take of a request, for the bridges that are built from now on.
func (p *CachedBridgePool) LimitTools(limits aibridge.ToolLimits) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = limits
}

func (p *CachedBridgePool) toolLimits() aibridge.ToolLimits {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limits
}

// conversationsFor returns what bridges remember of conversations. What one gateway does not remember, it asks of the control
// plane. A pool is one server's, so any of its clients is of the same control plane.
func (p *CachedBridgePool) conversationsFor(clientFn ClientFunc) *aibridge.Conversations {
	p.remember.Do(func() {
		p.turns = newTurnQueue(newTurnStore(clientFn), p.logger)
		p.conversations = aibridge.NewConversations(p.turns)
	})
	return p.conversations
}

// current returns the providers for a bridge that is built now. No Acquire gets a bridge older than the latest
// providers: ReplaceProviders first sets the providers and then unlinks the bridges that exist.
func (p *CachedBridgePool) current() *aibridge.ProviderSet {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.providers
}

// Shutdown implements [Pooler].
func (p *CachedBridgePool) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	providers := p.providers
	p.mu.Unlock()
	defer providers.CloseIdleConnections()
	err := p.bridges.Shutdown(ctx)
	p.remember.Do(func() {}) // Nobody sets them any more.
	if p.turns != nil {
		p.turns.Close(ctx)
	}
	if err != nil {
		return xerrors.Errorf("bridges of the pool: %w", err)
	}
	return nil
}

// CacheMetrics returns the counts of the pool's cache.
func (p *CachedBridgePool) CacheMetrics() PoolMetrics { return p.bridges.Counts() }
