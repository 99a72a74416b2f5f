package main

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// lineBuffer buffers lines for a file, a pipe or a terminal, each of which can hang or fail for any time. Its Write
// never waits and never fails. One goroutine writes the lines out, several at a time. Lines that do not fit into the
// buffer, and lines that cannot be written for [lineKept], are dropped and counted, and a line says so once writing works
// again.
//
// It writes whole lines, in the order in which they came: after a write that failed half-way it first writes the rest of
// that line, however long that takes.
type lineBuffer struct {
	out     io.Writer
	options lineBufferOptions

	mu      sync.Mutex // Guards the fields below. It is held only to copy bytes.
	pending []byte
	dropped uint64 // Since the last notice.
	closed  bool

	total   atomic.Uint64 // All lines that were ever dropped.
	wake    chan struct{} // Tells the goroutine that lines wait.
	urgent  chan struct{} // Tells the goroutine to write at once.
	closing chan struct{} // Closed by close.
	gaveUp  chan struct{} // Closed when close has waited long enough.
	done    chan struct{} // Closed when the goroutine ends: all is written, or given up.
}

// lineBufferOptions are the optional settings of a lineBuffer; the zero value works.
type lineBufferOptions struct {
	// limit is how many bytes may wait; as many more may be in the write that is under way. Zero means 1 MiB.
	limit int
	// notice returns the line that says how many lines were dropped. Nil: there is no such line.
	notice func(dropped uint64) []byte
}

const (
	// lineLimit holds some thousand lines, which a busy gateway writes in a second.
	lineLimit = 1 << 20
	// lineGather is how long a line waits for others to be written with it.
	lineGather = 20 * time.Millisecond
	// lineRetry is the time between attempts to write after a failure.
	lineRetry = 100 * time.Millisecond
	// lineKept is how long lines are kept whose writing fails. A disk that is full may have room again by then.
	lineKept = 2 * time.Second
	// linePatience is how long close waits until the last lines are written.
	linePatience = time.Second
)

// newLineBuffer returns a buffer before out. Its owner closes it.
func newLineBuffer(out io.Writer, options lineBufferOptions) *lineBuffer {
	if options.limit == 0 {
		options.limit = lineLimit
	}
	b := &lineBuffer{
		out: out, options: options,
		wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		closing: make(chan struct{}), gaveUp: make(chan struct{}), done: make(chan struct{}),
	}
	go b.writeOut()
	return b
}

// Write buffers a line, or several that belong together, or drops them. It always returns len(line) and nil.
func (b *lineBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	fits := !b.closed && len(line) <= b.options.limit-len(b.pending)
	isFirst := len(b.pending) == 0
	if fits {
		b.pending = append(b.pending, line...)
	} else {
		b.dropped++
	}
	isMuch := len(b.pending) > b.options.limit/2
	b.mu.Unlock()
	switch {
	case !fits:
		b.total.Add(1)
	case isMuch:
		b.hurry()
	case isFirst:
		leaveWord(b.wake)
	}
	return len(line), nil
}

// hurry makes the goroutine write the waiting lines at once.
func (b *lineBuffer) hurry() { leaveWord(b.urgent) }

// leaveWord puts a token into a channel with room for one, if it is empty.
func leaveWord(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// droppedTotal returns how many lines were ever dropped.
func (b *lineBuffer) droppedTotal() uint64 { return b.total.Load() }

// close returns when the waiting lines are written, or after [linePatience]. In the second case the goroutine may stay
// behind, in a write that the operating system does not end. Lines that come later are dropped. It may be called twice.
func (b *lineBuffer) close() {
	b.mu.Lock()
	isFirst := !b.closed
	b.closed = true
	b.mu.Unlock()
	if isFirst {
		close(b.closing)
		defer close(b.gaveUp)
	}
	select {
	case <-b.done:
	case <-time.After(linePatience):
	}
}

// writeOut is the goroutine that writes.
func (b *lineBuffer) writeOut() {
	defer close(b.done)
	var lines batch
	for {
		isClosing := b.await()
		lines = b.take(lines.text)
		if !b.write(lines) || isClosing {
			return
		}
	}
}

// await returns when it is time to write. It reports whether close was called, so that no more lines will come.
func (b *lineBuffer) await() (isClosing bool) {
	select {
	case <-b.wake:
		select {
		case <-time.After(lineGather):
		case <-b.urgent:
		case <-b.closing:
			return true
		}
	case <-b.urgent:
	case <-b.closing:
		return true
	}
	return false
}

// batch is lines that are written together.
type batch struct {
	text     []byte
	reported uint64 // How many dropped lines its last line reports. Zero: it has no such line.
}

// take returns the waiting lines. The next lines are buffered in spare.
func (b *lineBuffer) take(spare []byte) batch {
	b.mu.Lock()
	taken, dropped := batch{text: b.pending}, b.dropped
	b.pending, b.dropped = spare[:0], 0
	b.mu.Unlock()
	if dropped > 0 && b.options.notice != nil {
		taken.text, taken.reported = append(taken.text, b.options.notice(dropped)...), dropped // The dropped lines came after those that waited.
	}
	return taken
}

// write writes lines, and repeats that until it succeeds, or until it has failed for lineKept: then it drops what is
// left, but for the rest of a line that was begun. It reports false if close gave up first.
func (b *lineBuffer) write(lines batch) bool {
	var (
		rest    = lines.text
		isTorn  bool // A line was begun and not finished.
		failing time.Time
	)
	for len(rest) > 0 {
		n, err := b.out.Write(rest)
		if n > 0 {
			isTorn, failing = rest[n-1] != '\n', time.Time{}
			rest = rest[n:]
		}
		if err == nil {
			continue
		}
		if failing.IsZero() {
			failing = time.Now()
		}
		if time.Since(failing) >= lineKept {
			kept := 0
			if isTorn {
				kept = bytes.IndexByte(rest, '\n') + 1
			}
			b.drop(rest[kept:], lines.reported)
			rest, lines.reported = rest[:kept], 0
			if kept == 0 {
				return true
			}
			b.dropWaiting()
		}
		select {
		case <-time.After(lineRetry):
		case <-b.gaveUp:
			return false
		}
	}
	return true
}

// drop counts lines that could not be written. If the last of them reports others, those are reported again.
func (b *lineBuffer) drop(lines []byte, reported uint64) {
	n := uint64(bytes.Count(lines, []byte{'\n'}))
	if n == 0 {
		return
	}
	if reported > 0 {
		n-- // The report is no line of the log.
	}
	b.mu.Lock()
	b.dropped += n + reported
	b.mu.Unlock()
	b.total.Add(n)
}

// dropWaiting drops the lines that wait.
func (b *lineBuffer) dropWaiting() {
	b.mu.Lock()
	n := uint64(bytes.Count(b.pending, []byte{'\n'}))
	b.pending = b.pending[:0]
	b.dropped += n
	b.mu.Unlock()
	b.total.Add(n)
}
