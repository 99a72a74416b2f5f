package aibridged

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/xerrors"

	"github.com/coder/aibridged/aibridge"
)

// Pooler keeps the bridges of users. Its methods are safe for concurrent use.
type Pooler interface {
	// Acquire returns the handler of a user's bridge, and makes the bridge where there is none. The handler is for one
	// request: it is good until that has been served, or ctx has ended, whatever becomes of the bridge meanwhile.
	Acquire(ctx context.Context, req Request, clientFn ClientFunc, mcpBootstrapper MCPProxyBuilder) (http.Handler, error)
	// ReplaceProviders makes every later Acquire serve these providers and no others.
	ReplaceProviders(providers []aibridge.Provider)
	// Shutdown refuses further Acquires and returns once all bridges are closed, each after the last of its requests.
	// When ctx ends first it fails: what is in use by then is still closed by its last request. Further calls wait for
	// the same.
	Shutdown(ctx context.Context) error
}

// PoolOptions bounds a pool. A field that is zero has the value of [DefaultPoolOptions].
type PoolOptions struct {
	// MaxItems is how many bridges are kept; the one that was not used for the longest time goes first.
	MaxItems int64
	// TTL is how long a bridge is kept, used or not.
	TTL time.Duration
}

// DefaultPoolOptions are what fits most gateways.
var DefaultPoolOptions = PoolOptions{MaxItems: 5000, TTL: 15 * time.Minute}

// PoolMetrics tells how a pool's cache has fared since it was made. It is safe for concurrent use.
type PoolMetrics interface {
	// Hits counts the Acquires that found a bridge, or one being built.
	Hits() uint64
	// Misses counts those that had one built.
	Misses() uint64
	// KeysAdded counts the bridges that entered the cache, those among them whose build failed too.
	KeysAdded() uint64
	// KeysEvicted counts those that left it, for whatever reason: KeysAdded less KeysEvicted are in it.
	KeysEvicted() uint64
}

const (
	// buildTimeout bounds the making of a bridge. It is the pool's own: a caller that gives up fails no other.
	buildTimeout = 5 * time.Second
	// toolsTimeout bounds the closing of a bridge's tool sessions.
	toolsTimeout = 5 * time.Second
)

// CachedBridgePool is a [Pooler] that keeps one bridge for each initiator and API key, for a time and up to a number.
// Eviction, expiry, new providers and shutdown only unlink a bridge; the last request that uses it closes it.
type CachedBridgePool struct {
	options PoolOptions
	logger  slog.Logger
	metrics *aibridge.Metrics
	tracer  trace.Tracer
	counts  poolCounts

	patience context.Context // Of builds and closings. It ends when Shutdown returns, be it for want of time.
	hurry    context.CancelFunc

	// mu guards what follows, and the fields of entries that say so. Builds and closings run outside it.
	mu        sync.Mutex
	recorder  aibridge.Recorder // Nil: bridges record straight to the control plane.
	providers *aibridge.ProviderSet
	empty     bool // There are no providers.
	entries   *simplelru.LRU[poolKey, *poolEntry]
	live      int // Entries that are not closed yet, linked or not.
	closed    bool
	drained   chan struct{} // Closed once closed is set and live is zero.
}

var _ Pooler = (*CachedBridgePool)(nil)

// poolKey is whose bridge it is. A delegated request has no session key for the host's own tools, so that its bridge
// is another.
type poolKey struct {
	initiator uuid.UUID
	apiKeyID  string
	delegated bool
}

// NewCachedBridgePool returns an empty pool that serves providers. It fails where options are negative or two providers
// share a name. Metrics may be nil. The pool must be shut down.
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
	set, err := aibridge.NewProviderSet(providers...)
	if err != nil {
		return nil, xerrors.Errorf("providers: %w", err)
	}
	entries, err := simplelru.NewLRU[poolKey, *poolEntry](int(options.MaxItems), nil)
	if err != nil {
		return nil, xerrors.Errorf("pool of %d bridges: %w", options.MaxItems, err)
	}
	p := &CachedBridgePool{
		options: options, logger: logger, metrics: metrics, tracer: tracer,
		providers: set, empty: len(providers) == 0, entries: entries, drained: make(chan struct{}),
	}
	p.patience, p.hurry = context.WithCancel(context.Background())
	return p, nil
}

// Acquire implements [Pooler].
func (p *CachedBridgePool) Acquire(ctx context.Context, req Request, clientFn ClientFunc, mcpBootstrapper MCPProxyBuilder) (http.Handler, error) {
	ctx, span := p.tracer.Start(ctx, "CachedBridgePool.Acquire")
	defer span.End()
	if err := ctx.Err(); err != nil {
		return nil, xerrors.Errorf("acquire: %w", context.Cause(ctx))
	}
	entry, hit, err := p.entry(bridgePlan{
		req: req, clientFn: clientFn, mcpBootstrapper: mcpBootstrapper, parent: span.SpanContext(),
	})
	if err != nil {
		return nil, err
	}
	if hit {
		span.AddEvent("cache_hit")
	} else {
		span.AddEvent("cache_miss")
	}
	select {
	case <-entry.built:
	case <-ctx.Done():
		p.release(entry)
		return nil, xerrors.Errorf("acquire: %w", context.Cause(ctx))
	}
	if entry.err != nil {
		p.release(entry)
		return nil, entry.err
	}
	return newLease(ctx, p, entry), nil
}

// entry returns the entry of a request, held for the caller, and whether it was there already. Where it was not, its
// build begins.
func (p *CachedBridgePool) entry(plan bridgePlan) (_ *poolEntry, hit bool, _ error) {
	key := poolKey{initiator: plan.req.InitiatorID, apiKeyID: plan.req.APIKeyID, delegated: plan.req.SessionKey == ""}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false, xerrors.New("pool is shut down")
	}
	if entry, ok := p.entries.Get(key); ok {
		entry.users++
		p.counts.hits.Add(1)
		return entry, true, nil
	}
	p.counts.misses.Add(1)
	if int64(p.entries.Len()) >= p.options.MaxItems {
		if _, oldest, ok := p.entries.GetOldest(); ok {
			p.unlink(oldest)
		}
	}
	entry := &poolEntry{key: key, built: make(chan struct{}), users: 2} // The caller and the build.
	entry.expiry = time.AfterFunc(p.options.TTL, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.unlink(entry)
	})
	p.entries.Add(key, entry)
	p.live++
	p.counts.added.Add(1)
	go p.build(entry, p.providers, plan)
	return entry, false, nil
}

// ReplaceProviders implements [Pooler]. Providers of which two share a name are not taken, and none at all do not take
// the place of some: that is logged, and those before go on serving. To serve none, disable them. After Shutdown it does
// nothing.
func (p *CachedBridgePool) ReplaceProviders(providers []aibridge.Provider) {
	before, err := p.replaceProviders(providers)
	if err != nil {
		p.logger.Error(p.patience, "new providers not taken, the ones before stay", slog.Error(err))
	}
	if before != nil {
		before.CloseIdleConnections()
	}
}

// replaceProviders returns the set that was replaced, nil where it was not.
func (p *CachedBridgePool) replaceProviders(providers []aibridge.Provider) (before *aibridge.ProviderSet, err error) {
	set, err := aibridge.NewProviderSet(providers...)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, nil
	case len(providers) == 0 && !p.empty:
		return nil, xerrors.New("no providers given")
	}
	before, p.providers, p.empty = p.providers, set, len(providers) == 0
	p.unlinkAll()
	return before, nil
}

// Shutdown implements [Pooler].
func (p *CachedBridgePool) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	if !p.closed {
		p.unlinkAll()
		p.closed = true
		p.drainedIfEmpty()
	}
	providers := p.providers
	p.mu.Unlock()
	defer providers.CloseIdleConnections()
	defer p.hurry()
	select {
	case <-p.drained:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live > 0 { // Otherwise both cases above were ready.
		return xerrors.Errorf("%d bridges are not closed: %w", p.live, context.Cause(ctx))
	}
	return nil
}

// CacheMetrics returns the counts of the pool's cache.
func (p *CachedBridgePool) CacheMetrics() PoolMetrics { return &p.counts }

type poolCounts struct {
	hits, misses, added, evicted atomic.Uint64
}

func (c *poolCounts) Hits() uint64        { return c.hits.Load() }
func (c *poolCounts) Misses() uint64      { return c.misses.Load() }
func (c *poolCounts) KeysAdded() uint64   { return c.added.Load() }
func (c *poolCounts) KeysEvicted() uint64 { return c.evicted.Load() }
