package aibridge

import (
	"bytes"
	"io"
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

// reader returns the whole body for a transport, which the caller makes hold the body for as long as it reads. It is a
// reader that net/http knows to be in memory: others have the header of their request sent ahead, in a write of its own.
func (b *body) reader() io.ReadCloser { return io.NopCloser(bytes.NewReader(b.bytes)) }
