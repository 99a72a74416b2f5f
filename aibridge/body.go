package aibridge

import (
	"io"
	"sync"
	"sync/atomic"
)

// body is the body of a request: read once, whole, and owned. Each of its users holds it, and its buffer goes back to
// where it was lent when the last one lets go, never before. It can be sent any number of times.
type body struct {
	bytes   []byte // Good for those who hold the body. Never changed.
	users   atomic.Int32
	buffers *bodyBuffers // Where the buffer is from; nil where it is of the body's own.
}

// newBody returns a body that the caller holds.
func newBody(bytes []byte, buffers *bodyBuffers) *body {
	b := &body{bytes: bytes, buffers: buffers}
	b.users.Store(1)
	return b
}

// hold adds a user. The caller holds the body itself.
func (b *body) hold() { b.users.Add(1) }

// release lets go of the body. Each user does so once.
func (b *body) release() {
	if b.users.Add(-1) > 0 {
		return
	}
	if b.buffers != nil {
		b.buffers.takeBack(b.bytes)
	}
	b.bytes = nil
}

// reader returns a reader of the whole body, which holds it until it has been read to its end or closed. The caller
// holds the body meanwhile and closes the reader.
func (b *body) reader() *bodyReader {
	b.hold()
	return &bodyReader{body: b, rest: b.bytes}
}

// bodyReader is a body as a transport reads it: in a goroutine of the transport's, which may go on when the answer is
// there. After Close nothing is read, so that whoever closes it knows that the transport has let go.
type bodyReader struct {
	mu   sync.Mutex
	body *body  // Guarded by mu; nil once it has let go.
	rest []byte // Guarded by mu; what has not been read.
}

// Read implements [io.Reader].
func (r *bodyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rest) == 0 {
		r.letGo()
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	if len(r.rest) == 0 {
		r.letGo()
	}
	return n, nil
}

// Close implements [io.Closer]. It can be called more than once.
func (r *bodyReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.letGo()
	return nil
}

// letGo is called with mu held.
func (r *bodyReader) letGo() {
	if r.body != nil {
		r.body.release()
		r.body, r.rest = nil, nil
	}
}
