package aibridged

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/apierror"
)

// poolEntry is one user's bridge, from its build to the end of the last request that uses it.
type poolEntry struct {
	key    poolKey
	expiry *time.Timer

	built  chan struct{} // Closed when the three fields below are set for good.
	bridge *aibridge.RequestBridge
	tools  mcp.ServerProxier // Nil where there are none.
	err    error

	users    int  // Guarded by the pool's mu: callers that hold the entry, and the build while it runs.
	unlinked bool // Guarded by the pool's mu: no Acquire finds the entry any more.
	closed   bool // Guarded by the pool's mu: unlinked, and without users.
}

// unlink takes an entry out of the cache. The pool's mu is held.
func (p *CachedBridgePool) unlink(entry *poolEntry) {
	if entry.unlinked {
		return
	}
	entry.unlinked = true
	entry.expiry.Stop()
	p.entries.Remove(entry.key)
	p.counts.evicted.Add(1)
	p.closeIfUnused(entry)
}

func (p *CachedBridgePool) unlinkAll() {
	for _, entry := range p.entries.Values() {
		p.unlink(entry)
	}
}

// retain holds an entry that somebody else holds too, or that is still linked. It reports whether it could.
func (p *CachedBridgePool) retain(entry *poolEntry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if entry.closed {
		return false
	}
	entry.users++
	return true
}

// release gives an entry back.
func (p *CachedBridgePool) release(entry *poolEntry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	entry.users--
	p.closeIfUnused(entry)
}

// closeIfUnused closes an entry that nobody holds and nobody can find. The pool's mu is held; the closing itself runs
// outside it, and Shutdown waits for it.
func (p *CachedBridgePool) closeIfUnused(entry *poolEntry) {
	if !entry.unlinked || entry.users > 0 || entry.closed {
		return
	}
	entry.closed = true
	if entry.tools == nil {
		p.forget()
		return
	}
	go p.closeTools(entry.tools)
}

// closeTools ends the sessions of an entry, and counts it out.
func (p *CachedBridgePool) closeTools(tools mcp.ServerProxier) {
	ctx, cancel := context.WithTimeout(p.patience, toolsTimeout)
	defer cancel()
	if err := contained(func() error { return tools.Shutdown(ctx) }); err != nil {
		p.logger.Warn(ctx, "closing MCP sessions failed", withStack(err)...)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
}

// forget counts an entry out. The pool's mu is held.
func (p *CachedBridgePool) forget() {
	p.live--
	p.drainedIfEmpty()
}

func (p *CachedBridgePool) drainedIfEmpty() {
	if p.closed && p.live == 0 {
		close(p.drained)
	}
}

// lease is the handler that Acquire returns. It holds its entry until its request has been served, or until the context
// that it was acquired with has ended.
type lease struct {
	pool     *CachedBridgePool
	entry    *poolEntry
	stop     func() bool
	giveBack func()
}

func newLease(ctx context.Context, pool *CachedBridgePool, entry *poolEntry) *lease {
	l := &lease{pool: pool, entry: entry}
	l.giveBack = sync.OnceFunc(func() { pool.release(entry) })
	l.stop = context.AfterFunc(ctx, l.giveBack)
	return l
}

// ServeHTTP implements [http.Handler].
func (l *lease) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !l.pool.retain(l.entry) {
		apierror.ForPath(r.URL.Path).Write(w, r, &apierror.Error{
			Status: http.StatusServiceUnavailable, Text: ErrAcquireRequestHandler.Error(), RetryAfter: retryConnect,
		})
		return
	}
	defer l.pool.release(l.entry)
	defer l.giveBack()
	defer l.stop()
	l.entry.bridge.ServeHTTP(w, r)
}
