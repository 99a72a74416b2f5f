package lease

import (
	"context"
	"time"
)

// entry is one value, from its build to the end of its last use.
type entry[K comparable, V any] struct {
	key    K
	expiry *time.Timer

	built chan struct{} // Closed when the three fields below are set for good.
	value V
	end   func(context.Context) // Nil: there is nothing to close.
	err   error

	ready    bool // Guarded by the pool's mu: built is closed.
	users    int  // Guarded by the pool's mu: leases, those who wait for the build, and the build while it runs.
	unlinked bool // Guarded by the pool's mu: no Acquire finds the entry any more.
	closed   bool // Guarded by the pool's mu: unlinked, and without users.
}

// build makes an entry's value. It holds the entry, so that Shutdown waits for it.
func (p *Pool[K, V]) build(e *entry[K, V], build Build[V]) {
	e.value, e.end, e.err = build(p.patience)
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.err != nil {
		p.unlink(e) // Before those who wait hear of it: when they come again, they build anew.
	}
	e.ready = true
	close(e.built)
	p.drop(e)
}

// unlink takes an entry out of the cache. The pool's mu is held.
func (p *Pool[K, V]) unlink(e *entry[K, V]) {
	if e.unlinked {
		return
	}
	e.unlinked = true
	e.expiry.Stop()
	p.entries.Remove(e.key)
	p.counts.evicted.Add(1)
	p.closeIfUnused(e)
}

// retain holds an entry once more. It reports whether that was possible: what is closed cannot be held.
func (p *Pool[K, V]) retain(e *entry[K, V]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.closed {
		return false
	}
	e.users++
	return true
}

// release gives an entry back.
func (p *Pool[K, V]) release(e *entry[K, V]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(e)
}

// drop gives an entry back. The pool's mu is held.
func (p *Pool[K, V]) drop(e *entry[K, V]) {
	e.users--
	p.closeIfUnused(e)
}

// closeIfUnused closes an entry that nobody holds and nobody can find. The pool's mu is held; the closing itself runs
// outside it, and Shutdown waits for it.
func (p *Pool[K, V]) closeIfUnused(e *entry[K, V]) {
	if !e.unlinked || e.users > 0 || e.closed {
		return
	}
	e.closed = true
	if e.end == nil {
		p.forget()
		return
	}
	go p.close(e.end)
}

// close closes a value, and counts its entry out.
func (p *Pool[K, V]) close(end func(context.Context)) {
	end(p.patience)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
}

// forget counts an entry out. The pool's mu is held.
func (p *Pool[K, V]) forget() {
	p.live--
	p.drainedIfEmpty()
}

// drainedIfEmpty tells those who wait in Shutdown that nothing is left. The pool's mu is held.
func (p *Pool[K, V]) drainedIfEmpty() {
	if p.closed && p.live == 0 {
		close(p.drained)
	}
}
