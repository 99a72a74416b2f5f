package main

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// lineBuffer stands between those who log and what takes the lines: a file, a pipe, a terminal, each of which can hang
// or fail for as long as it likes. Its Write never waits and never fails; one goroutine of its own writes, several lines
// at a time. What does not fit meanwhile is dropped and counted, and a line says so once writing works again.
//
// What is written are whole lines in the order in which they came: after a write that failed half-way, the rest of it
// goes out first, however long that takes.
type lineBuffer struct {
	out     io.Writer
	options lineBufferOptions

	mu      sync.Mutex // Guards what follows. Nothing is done under it but copying bytes.
	pending []byte
	dropped uint64 // Since the last notice.
	closed  bool

	total   atomic.Uint64 // Lines dropped ever.
	wake    chan struct{} // There is something to write.
	urgent  chan struct{} // It is to be written at once.
	closing chan struct{} // Closed by close.
	gaveUp  chan struct{} // Closed when close has waited long enough.
	done    chan struct{} // Closed when all is written, or given up.
}

// lineBufferOptions are what a lineBuffer can do without.
type lineBufferOptions struct {
	// limit is how many bytes may wait, and as many more may be on their way out. Default: 1 MiB.
	limit int
	// notice returns the line that says how many were dropped. Nil: none says so.
	notice func(dropped uint64) []byte
}

const (
	// lineLimit is some thousand lines: a second of a gateway that has much to do.
	lineLimit = 1 << 20
	// lineGather is how long a line waits for others, to be written with them.
	lineGather = 20 * time.Millisecond
	// lineRetry is the time between attempts to write to what fails.
	lineRetry = 100 * time.Millisecond
	// linePatience is how long close waits for what does not take the last lines.
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

// Write takes a whole line, or several that belong together, or drops all of it. It always returns len(line) and nil.
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

// hurry has what waits written without waiting for more.
func (b *lineBuffer) hurry() { leaveWord(b.urgent) }

// leaveWord leaves word in a channel for one, if none is there yet.
func leaveWord(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// droppedTotal returns how many lines have been dropped ever.
func (b *lineBuffer) droppedTotal() uint64 { return b.total.Load() }

// close has what waits written and returns when it is, or after [linePatience]: then the goroutine that writes is left
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
	var batch []byte
	for {
		isClosing := b.await()
		batch = b.take(batch)
		if !b.write(batch) || isClosing {
			return
		}
	}
}

// await returns when lines are to be written. It reports whether there will be no more.
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

// take returns what waits, and has the next lines wait in spare.
func (b *lineBuffer) take(spare []byte) []byte {
	b.mu.Lock()
	batch, dropped := b.pending, b.dropped
	b.pending, b.dropped = spare[:0], 0
	b.mu.Unlock()
	if dropped > 0 && b.options.notice != nil {
		batch = append(batch, b.options.notice(dropped)...) // Those that were dropped came after those that waited.
	}
	return batch
}

// write writes lines, for as long as it takes. It reports whether it could, before close gave up.
func (b *lineBuffer) write(lines []byte) bool {
	for len(lines) > 0 {
		n, err := b.out.Write(lines)
		lines = lines[n:]
		if err == nil {
			continue
		}
		select {
		case <-time.After(lineRetry):
		case <-b.gaveUp:
			return false
		}
	}
	return true
}
