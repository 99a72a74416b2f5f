// Package reload repeats a function whenever its result may be out of date: at once after a change, but at most once a
// second, and with back-off while it fails.
//
//	loop := reload.New(func(ctx context.Context) bool { … })
//	loop.Reload(ctx)
//	go loop.Run(ctx)
//	…
//	loop.Changed() // From anywhere.
package reload

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// pause follows each reload, so that any number of changes within a second causes two reloads.
	pause      = time.Second
	backoffMin = time.Second
	backoffMax = time.Minute
)

// Loop repeats a reload. Its reloads never overlap.
type Loop struct {
	reload  func(ctx context.Context) (current bool)
	changed chan struct{} // Holds at most one: reload again.
	current bool          // The last reload succeeded.
}

// New returns a loop around reload, which reports whether it succeeded, and does not panic.
func New(reload func(ctx context.Context) (current bool)) *Loop {
	return &Loop{reload: reload, changed: make(chan struct{}, 1)}
}

// Changed says that something may have changed: a reload that begins later will see it. It is safe for concurrent use.
func (l *Loop) Changed() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// Reload reloads once. It must not be called while Run runs.
func (l *Loop) Reload(ctx context.Context) {
	select {
	case <-l.changed: // This reload sees all changes until now.
	default:
	}
	l.current = l.reload(ctx)
}

// Run reloads until ctx ends: after each call of Changed, and, where the last reload failed, after a pause. It returns
// when ctx has ended and no reload is running.
func (l *Loop) Run(ctx context.Context) {
	backoff := backoffMin
	for {
		var retry <-chan time.Time // Nil, so that it never fires, while the last reload succeeded.
		if l.current {
			backoff = backoffMin
		} else {
			retry = after(backoff)
			backoff = min(2*backoff, backoffMax)
		}
		select {
		case <-l.changed:
		case <-retry:
		case <-ctx.Done():
			return
		}
		if ctx.Err() != nil {
			return // select may have chosen another case although ctx has ended.
		}
		l.Reload(ctx)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// Retry tries something that has failed again and again, with the pauses of a Loop, until try reports success or ctx ends.
// Try must not panic. When Retry returns, no try is running.
func Retry(ctx context.Context, try func(ctx context.Context) (done bool)) {
	for backoff := backoffMin; ; backoff = min(2*backoff, backoffMax) {
		select {
		case <-after(backoff):
		case <-ctx.Done():
			return
		}
		if ctx.Err() != nil || try(ctx) {
			return
		}
	}
}

// after fires after a pause. Half of each pause is random, so that many do not come back at the same moment.
func after(pause time.Duration) <-chan time.Time { return time.After(pause/2 + rand.N(pause/2+1)) }
