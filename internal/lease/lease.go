// Package lease shares values that are costly to make and must be closed. The pool makes one value for a key, keeps it
// for a limited time and up to a number of values, and closes it when it has left the pool and its last user is done.
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
// The package does not know what it shares.
package lease

import "context"

// Lease holds a value for one user: the value is not closed before the lease is released, whatever happens to it in the
// pool, except that a pool which is shut down does not wait for long for a lease that is not used. It is safe for
// concurrent use, except for ReleaseAfter.
type Lease[K comparable, V any] struct {
	pool  *Pool[K, V]
	entry *entry[K, V]
	spent bool        // Guarded by the pool's mu: it was released, or is being used.
	stop  func() bool // Stops what ReleaseAfter started; nil: nothing to stop.
}

// Release releases the lease. After a use or an earlier release it does nothing.
func (l *Lease[K, V]) Release() {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.spend() {
		l.pool.closeIfUnused(l.entry)
	}
}

// spend reports whether the lease held the value, which it does not any more. The caller holds the pool's mu.
func (l *Lease[K, V]) spend() bool {
	if l.spent {
		return false
	}
	l.spent = true
	l.entry.idle--
	return true
}

// ReleaseAfter releases the lease when ctx ends, unless the lease is in use then. Call it at most once, and before the
// lease is used.
func (l *Lease[K, V]) ReleaseAfter(ctx context.Context) { l.stop = context.AfterFunc(ctx, l.Release) }

// Use calls f with the value, and releases the lease when f returns or panics. Where the lease was released before, or the
// pool has revoked it, Use still works as long as the value is not closed; after that it returns false and does not call f.
func (l *Lease[K, V]) Use(f func(V)) bool {
	if l.stop != nil {
		l.stop()
	}
	if !l.begin() {
		return false
	}
	defer l.pool.release(l.entry)
	f(l.entry.value)
	return true
}

// begin reports whether the value can be used, and makes the lease a user of it then.
func (l *Lease[K, V]) begin() bool {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.spend()
	if l.entry.closed {
		return false
	}
	l.entry.users++
	return true
}
