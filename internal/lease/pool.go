package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// unusedGrace is how long Shutdown waits for leases that are not used yet. Between its Acquire and its use, a lease may
// have waited for a processor, and not for more.
const unusedGrace = 5 * time.Second

// ErrClosed is the error of Acquire once Shutdown was called.
var ErrClosed = errors.New("pool is shut down")

// Build makes a value. It also returns end, which closes the value and is called once, or nil where there is nothing to
// close. It may return an end beside an error. Build and end run in goroutines of their own and must not panic. Their
// contexts end when Shutdown returns, not with the context of a caller of Acquire: one that gives up fails no other.
type Build[V any] func(ctx context.Context) (value V, end func(context.Context), err error)

// Pool shares values, each under its key. Eviction, expiry, UnlinkAll and Shutdown take a value out of the pool; its
// current users can go on, and the last one closes it. It is safe for concurrent use. It must be shut down.
type Pool[K comparable, V any] struct {
	most   int
	ttl    time.Duration
	counts Counts

	patience context.Context // For builds and closings. It ends when Shutdown returns, also if that failed.
	hurry    context.CancelFunc

	// mu guards the fields below, and those of entries that say so. Builds and closings run outside it.
	mu      sync.Mutex
	entries *simplelru.LRU[K, *entry[K, V]]
	// unlinked holds the entries that are not in entries any more and not closed.
	unlinked map[*entry[K, V]]struct{}
	live     int // Entries that are not closed yet, linked or not.
	closed   bool
	revoked  bool          // Leases that nobody uses yet hold nothing any more.
	drained  chan struct{} // Closed once closed is set and live is zero.
}

// New returns an empty pool of at most that many values; the least recently acquired one leaves first. Each value stays
// for ttl, whether it is used or not. New fails where most or ttl is not positive.
func New[K comparable, V any](most int, ttl time.Duration) (*Pool[K, V], error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("pool with a TTL of %s: it must be positive", ttl)
	}
	entries, err := simplelru.NewLRU[K, *entry[K, V]](most, nil)
	if err != nil {
		return nil, fmt.Errorf("pool of %d values: %w", most, err)
	}
	p := &Pool[K, V]{most: most, ttl: ttl, entries: entries, unlinked: map[*entry[K, V]]struct{}{}, drained: make(chan struct{})}
	p.patience, p.hurry = context.WithCancel(context.Background())
	return p, nil
}

// Get returns a lease of the value of key, which the caller must use or release. It returns nil where there is no value
// or it is still being built. It is [Pool.Acquire] for a value that exists; the caller needs no Build for it.
func (p *Pool[K, V]) Get(key K) *Lease[K, V] {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.entries.Get(key)
	if !ok || !e.ready {
		return nil
	}
	e.idle++
	p.counts.hits.Add(1)
	return &Lease[K, V]{pool: p, entry: e}
}

// Acquire returns a lease of the value of key, which the caller must use or release. Where there is no value, it builds
// one, and all concurrent Acquires of the key wait for the same build; hit reports whether the value existed or was
// being built. A failed build fails all of these with its own error, and is not kept. When ctx ends first, Acquire
// fails with its cause.
func (p *Pool[K, V]) Acquire(ctx context.Context, key K, build Build[V]) (_ *Lease[K, V], hit bool, _ error) {
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	e, hit, ready, err := p.hold(key, build)
	if err != nil {
		return nil, false, err
	}
	if !ready {
		select {
		case <-e.built:
		case <-ctx.Done():
			p.release(e)
			return nil, hit, context.Cause(ctx)
		}
	}
	if e.err != nil {
		p.release(e)
		return nil, hit, e.err
	}
	return p.lease(e), hit, nil
}

// hold returns the entry of a key, held for the caller, whether it existed already, and whether it is built. Where it
// did not exist, hold starts its build.
func (p *Pool[K, V]) hold(key K, build Build[V]) (_ *entry[K, V], hit, ready bool, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false, false, ErrClosed
	}
	if e, ok := p.entries.Get(key); ok {
		e.users++
		p.counts.hits.Add(1)
		return e, true, e.ready, nil
	}
	p.counts.misses.Add(1)
	if p.entries.Len() >= p.most {
		if _, oldest, ok := p.entries.GetOldest(); ok {
			p.unlink(oldest)
		}
	}
	e := &entry[K, V]{key: key, built: make(chan struct{}), users: 2} // Held by the caller and the build.
	e.expiry = time.AfterFunc(p.ttl, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.unlink(e)
	})
	p.entries.Add(key, e)
	p.live++
	p.counts.added.Add(1)
	go p.build(e, build)
	return e, false, false, nil
}

// UnlinkAll takes all values out of the pool: later Acquires build anew.
func (p *Pool[K, V]) UnlinkAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unlinkAll()
}

func (p *Pool[K, V]) unlinkAll() {
	for _, e := range p.entries.Values() {
		p.unlink(e)
	}
}

// Shutdown refuses further Acquires and returns once all values are closed, each after the last of its users. It waits
// five seconds for leases that nobody uses yet; then these end. When ctx ends first, Shutdown fails; values in use by
// then are still closed by their last user. Further calls wait for the same end.
func (p *Pool[K, V]) Shutdown(ctx context.Context) error {
	defer p.hurry()
	p.beginShutdown()
	grace := time.AfterFunc(unusedGrace, p.revoke)
	defer grace.Stop()
	select {
	case <-p.drained:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live > 0 { // Otherwise both cases above may have been ready.
		return fmt.Errorf("%d values are not closed: %w", p.live, context.Cause(ctx))
	}
	return nil
}

func (p *Pool[K, V]) beginShutdown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.unlinkAll()
	p.closed = true
	p.drainedIfEmpty()
}

// revoke ends all leases that nobody uses yet.
func (p *Pool[K, V]) revoke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked = true
	for e := range p.unlinked {
		p.closeIfUnused(e)
	}
}

// Counts returns the counts of the pool.
func (p *Pool[K, V]) Counts() *Counts { return &p.counts }
