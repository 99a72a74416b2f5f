package observe

import (
	"context"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
)

// losses counts what is dropped, and logs it. Only add may be called from any goroutine; the rest belongs to the
// writer's. A slow log may delay the writer, but never a request.
type losses struct {
	logger  slog.Logger
	message string
	dir     string

	dropped atomic.Int64 // Drops that are not logged yet.
	failure error        // The cause of the latest failure.
	logged  time.Time
}

// add counts one drop.
func (l *losses) add() { l.dropped.Add(1) }

// fail counts one drop that the disk caused.
func (l *losses) fail(err error) {
	l.failure = err
	l.add()
}

// tell writes a log entry if there are drops to report and the last entry is at least a minute old.
func (l *losses) tell() {
	if time.Since(l.logged) >= time.Minute {
		l.tellNow()
	}
}

func (l *losses) tellNow() {
	dropped := l.dropped.Swap(0)
	if dropped == 0 {
		return
	}
	l.logger.Warn(context.Background(), l.message,
		slog.F("dropped", dropped), slog.F("dir", l.dir), slog.Error(l.failure))
	l.failure, l.logged = nil, time.Now()
}
