// Package reload repeats something whenever it may be out of date: at once where somebody says so, but no more than once a
// second, and with back-off for as long as it fails.
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
	// pause follows each reload, so that a second of changes is two reloads, however many they are.
	pause      = time.Second
	backoffMin = time.Second
	backoffMax = time.Minute
)

// Loop repeats a reload. Its reloads never overlap.
type Loop struct {
	reload  func(ctx context.Context) (current bool)
	changed chan struct{} // Holds at most one: look again.
	current bool          // The last reload succeeded.
}

// New returns a loop around reload, which reports whether it succeeded, and does not panic.
func New(reload func(ctx context.Context) (current bool)) *Loop {
	return &Loop{reload: reload, changed: make(chan struct{}, 1)}
}

// Changed says that something may have changed: a reload that has not begun yet will see it. It is safe for concurrent use.
func (l *Loop) Changed() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// Reload reloads once. It is not called while Run runs.
func (l *Loop) Reload(ctx context.Context) {
	select {
	case <-l.changed: // What was told until now, this reload sees.
	default:
	}
	l.current = l.reload(ctx)
}

// Run reloads for as long as ctx lasts: after each call of Changed, and where the last reload failed, after a pause. It
// returns when ctx has ended and no reload is running.
func (l *Loop) Run(ctx context.Context) {
	backoff := backoffMin
	for {
		var retry <-chan time.Time // Never, while all is current.
		if l.current {
			backoff = backoffMin
		} else {
			// Half of each pause is left to chance, so that many gateways do not come back at the same moment.
			retry = time.After(backoff/2 + rand.N(backoff/2+1))
			backoff = min(2*backoff, backoffMax)
		}
		select {
		case <-l.changed:
		case <-retry:
		case <-ctx.Done():
			return
		}
		if ctx.Err() != nil {
			return // Select does not prefer.
		}
		l.Reload(ctx)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
