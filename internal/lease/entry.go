package lease

import (
	"context"
	"time"
)

// entry is one value, from its build to the end of its last use.
type entry[K comparable, V any] struct {
	key    K
	expiry *time.Timer

	built chan struct{} // Closed when the three fields below have their final values.
	value V
	end   func(context.Context) // Nil: there is nothing to close.
	err   error

	ready    bool // Guarded by the pool's mu: built is closed.
	users    int  // Guarded by the pool's mu: leases in use, callers that wait for the build, and the build while it runs.
	idle     int  // Guarded by the pool's mu: leases that are not used yet. They hold the value until they are revoked.
	unlinked bool // Guarded by the pool's mu: no Acquire finds the entry any more.
	closed   bool // Guarded by the pool's mu: nobody can use the value any more.
}

// build builds an entry's value. It holds the entry meanwhile, so that Shutdown waits for it.
func (p *Pool[K, V]) build(e *entry[K, V], build Build[V]) {
	e.value, e.end, e.err = build(p.patience)
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.err != nil {
		p.unlink(e) // Before the waiting callers learn of it: if they call again, they get a new build.
	}
	e.ready = true
	close(e.built)
	p.drop(e)
}

// unlink takes an entry out of the cache. The caller holds the pool's mu.
func (p *Pool[K, V]) unlink(e *entry[K, V]) {
	if e.unlinked {
		return
	}
	e.unlinked = true
	e.expiry.Stop()
	p.entries.Remove(e.key)
	p.unlinked[e] = struct{}{}
	p.counts.evicted.Add(1)
	p.closeIfUnused(e)
}

// lease returns a lease for a user of an entry, in whose place it is.
func (p *Pool[K, V]) lease(e *entry[K, V]) *Lease[K, V] {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.idle++
	p.drop(e)
	return &Lease[K, V]{pool: p, entry: e}
}

// release removes a user from an entry.
func (p *Pool[K, V]) release(e *entry[K, V]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(e)
}

// drop is release for a caller that holds the pool's mu.
func (p *Pool[K, V]) drop(e *entry[K, V]) {
	e.users--
	p.closeIfUnused(e)
}

// closeIfUnused closes an entry that has no users and is unlinked. Leases that nobody has used yet count as users until
// they are revoked: nobody knows whether they will ever be used or released. The caller holds the pool's mu; the
// closing itself runs outside it, and Shutdown waits for it.
func (p *Pool[K, V]) closeIfUnused(e *entry[K, V]) {
	if !e.unlinked || e.users > 0 || e.closed || e.idle > 0 && !p.revoked {
		return
	}
	e.closed = true
	delete(p.unlinked, e)
	if e.end == nil {
		p.forget()
		return
	}
	go p.close(e.end)
}

// close closes a value, and then uncounts its entry.
func (p *Pool[K, V]) close(end func(context.Context)) {
	end(p.patience)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
}

// forget uncounts an entry. The caller holds the pool's mu.
func (p *Pool[K, V]) forget() {
	p.live--
	p.drainedIfEmpty()
}

// drainedIfEmpty wakes the callers of Shutdown when no entry is left. The caller holds the pool's mu.
func (p *Pool[K, V]) drainedIfEmpty() {
	if p.closed && p.live == 0 {
		close(p.drained)
	}
}
