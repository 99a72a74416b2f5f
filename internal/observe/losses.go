package observe

import (
	"context"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
)

// losses counts what is dropped, and tells of it in a log. All but add is for one goroutine, that of the writer: a slow
// log may keep that one waiting, but never a request.
type losses struct {
	logger  slog.Logger
	message string
	dir     string

	dropped atomic.Int64 // What no log entry has told of yet.
	failure error        // The latest of these.
	logged  time.Time
}

// add counts one that was dropped.
func (l *losses) add() { l.dropped.Add(1) }

// fail counts one that was dropped because the disk failed.
func (l *losses) fail(err error) {
	l.failure = err
	l.add()
}

// tell writes a log entry if there is something to tell, and the last one is a minute ago.
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
