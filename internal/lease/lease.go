// Package lease shares what is costly to make and must be closed among all who need it at the same time. A value is made
// once for a key, kept for a time and up to a number, and closed when it has left the pool and its last user is done.
//
//	pool, err := lease.New[string, *Session](100, time.Hour)
//	…
//	l, _, err := pool.Acquire(ctx, user, func(ctx context.Context) (*Session, func(context.Context), error) {
//		session, err := dial(ctx, user)
//		return session, session.Close, err
//	})
//	…
//	ok := l.Use(func(session *Session) { … })
//
// It knows nothing of what it shares.
package lease

import (
	"context"
	"sync/atomic"
)

// Lease holds a value for one user: the value is not closed before the lease is given back, whatever becomes of it in the
// pool. It is safe for concurrent use, but for ReleaseAfter.
type Lease[K comparable, V any] struct {
	pool  *Pool[K, V]
	entry *entry[K, V]
	spent atomic.Bool // It has been given back, or is being used.
	stop  func() bool // Stops what ReleaseAfter began; nil: nothing to stop.
}

// Release gives the lease back. Once it was used or given back, that does nothing.
func (l *Lease[K, V]) Release() {
	if !l.spent.Swap(true) {
		l.pool.release(l.entry)
	}
}

// ReleaseAfter gives the lease back when ctx ends, unless it is used by then. It is called once at most, and before the
// lease is used.
func (l *Lease[K, V]) ReleaseAfter(ctx context.Context) { l.stop = context.AfterFunc(ctx, l.Release) }

// Use calls f with the value, and gives the lease back when f returns or panics. Where it had been given back before, Use
// still works as long as the value is not closed; after that it returns false and does not call f.
func (l *Lease[K, V]) Use(f func(V)) bool {
	if l.stop != nil {
		l.stop()
	}
	if l.spent.Swap(true) && !l.pool.retain(l.entry) {
		return false
	}
	defer l.pool.release(l.entry)
	f(l.entry.value)
	return true
}
