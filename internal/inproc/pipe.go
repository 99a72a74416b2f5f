package inproc

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

var (
	errHandlerReturned = errors.New("write after the handler returned")
	errBodyClosed      = errors.New("the response's body was closed")
)

// pipe hands bytes from writes to reads. It has no buffer: the side that comes first waits with its own slice, and the
// other copies from or to that slice and wakes the first. So a write and its read cost one wake-up, not two.
type pipe struct {
	reading, writing sync.Mutex // Each held by the one read or write that may be under way.

	mu       sync.Mutex
	given    sync.Cond // The waiting read has its bytes, or readErr is set.
	taken    sync.Cond // The waiting write has no bytes left, or writeErr is set, or its deadline has changed or passed.
	wanted   []byte    // Where the waiting read wants its bytes, nil if none waits.
	got      int       // How many bytes it was given.
	offered  []byte    // What the waiting write has left.
	blocked  bool      // A write waits.
	left     int64     // Bytes until the declared end of the body, -1 where none was declared.
	closed   bool      // The reader has closed.
	readErr  error     // What reads return from now on, or nil.
	writeErr error     // What writes return from now on, or nil.
	trailer  http.Header

	deadline time.Time // Of writes. Zero: none.
	timer    *time.Timer
}

func (p *pipe) init() {
	p.given.L, p.taken.L = &p.mu, &p.mu
	p.left = -1
}

// read waits for bytes or for the end of the body.
func (p *pipe) read(b []byte) (int, error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 && !p.closed {
		return 0, io.EOF // Even if the handler has failed since.
	}
	if p.left > 0 {
		b = b[:min(int64(len(b)), p.left)]
	}
	n := 0
	switch {
	case p.readErr != nil || len(b) == 0:
		return 0, p.readErr
	case len(p.offered) > 0:
		n = copy(b, p.offered)
		p.offered = p.offered[n:]
		if len(p.offered) == 0 {
			p.taken.Signal()
		}
	default:
		p.wanted, p.got = b, 0
		for p.wanted != nil && p.readErr == nil {
			p.given.Wait()
		}
		n, p.wanted = p.got, nil
		if n == 0 {
			return 0, p.readErr
		}
	}
	if p.left > 0 {
		p.left -= int64(n)
	}
	return n, nil
}

// write waits until all of b has been read. If that fails, the body has a gap, and so it ends there.
func (p *pipe) write(b []byte) (int, error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	if p.wanted != nil && p.writable() {
		n = copy(p.wanted, b)
		p.got, p.wanted = n, nil
		p.given.Signal()
	}
	p.offered = b[n:]
	p.wait()
	n, p.offered = len(b)-len(p.offered), nil
	if n < len(b) {
		if p.writeErr == nil {
			p.writeErr = os.ErrDeadlineExceeded
		}
		p.endReads(io.ErrUnexpectedEOF)
		return n, p.writeErr
	}
	return n, nil
}

// wait returns when no bytes are offered, or when none will be taken any more.
func (p *pipe) wait() {
	if len(p.offered) == 0 {
		return
	}
	p.blocked = true
	p.arm()
	for len(p.offered) > 0 && p.writable() {
		p.taken.Wait()
	}
	p.blocked = false
	p.disarm()
}

func (p *pipe) writable() bool {
	return p.writeErr == nil && (p.deadline.IsZero() || time.Now().Before(p.deadline))
}

// setWriteDeadline limits the waiting write and later ones.
func (p *pipe) setWriteDeadline(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	if p.blocked {
		p.disarm()
		p.arm()
		p.taken.Signal()
	}
}

func (p *pipe) arm() {
	if !p.deadline.IsZero() {
		p.timer = time.AfterFunc(time.Until(p.deadline), p.wakeWrite)
	}
}

func (p *pipe) disarm() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

func (p *pipe) wakeWrite() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken.Signal()
}

// closeWrite ends the body: with err, or with io.EOF and trailer where err is nil and nothing is missing.
func (p *pipe) closeWrite(err error, trailer http.Header) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
	case len(p.offered) > 0: // A goroutine that outlived the handler still writes.
		err = io.ErrUnexpectedEOF
	default:
		err = io.EOF
		p.trailer = trailer
	}
	p.endReads(err)
	p.endWrites(errHandlerReturned)
}

// closeRead ends the body from the reader's side, and reports whether the body had not ended yet.
func (p *pipe) closeRead() (early bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	early = p.readErr == nil && p.left != 0
	p.closed = true
	p.readErr = http.ErrBodyReadAfterClose
	p.given.Signal()
	p.endWrites(errBodyClosed)
	return early
}

// abort ends both sides with cause.
func (p *pipe) abort(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endReads(cause)
	p.endWrites(cause)
}

// broken returns the error that a write would return, or nil.
func (p *pipe) broken() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writeErr
}

// takeTrailer returns the trailer the first time, and nil after that.
func (p *pipe) takeTrailer() http.Header {
	p.mu.Lock()
	defer p.mu.Unlock()
	trailer := p.trailer
	p.trailer = nil
	return trailer
}

func (p *pipe) endReads(err error) {
	if p.readErr == nil {
		p.readErr = err
		p.given.Signal()
	}
}

func (p *pipe) endWrites(err error) {
	if p.writeErr == nil {
		p.writeErr = err
		p.taken.Signal()
	}
}
