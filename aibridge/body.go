package aibridge

import (
	"bytes"
	"io"
	"sync/atomic"
)

// body is the whole body of a request, in memory. Each user holds it and releases it. When the last user releases it,
// its buffer goes back to the bodyBuffers that lent it, and never before. It can be sent any number of times.
type body struct {
	bytes   []byte // Valid while the body is held. Never changed.
	users   atomic.Int32
	buffers *bodyBuffers // Where the buffer goes back to; nil: nowhere.
}

// newBody returns a body that the caller holds.
func newBody(bytes []byte, buffers *bodyBuffers) *body {
	b := &body{bytes: bytes, buffers: buffers}
	b.users.Store(1)
	return b
}

// hold adds a user. The caller holds the body itself.
func (b *body) hold() { b.users.Add(1) }

// release ends the hold of one user. Each user calls it once.
func (b *body) release() {
	if b.users.Add(-1) > 0 {
		return
	}
	if b.buffers != nil {
		b.buffers.takeBack(b.bytes)
	}
	b.bytes = nil
}

// reader returns a reader of the whole body, for a transport. The caller sees to it that the body is held for as long
// as the transport reads. The reader is of a type that net/http knows to be in memory: for other types, net/http sends
// the header of the request first, in a write of its own.
func (b *body) reader() io.ReadCloser { return io.NopCloser(bytes.NewReader(b.bytes)) }
