package aibridge

import (
	"bytes"
	"io"
	"sync/atomic"

	"github.com/coder/aibridged/internal/memory"
)

// body is the whole body of a request, in memory. Each user holds it and releases it. When the last user releases it,
// its buffer goes back to the pool that lent it, and never before. It can be sent any number of times.
type body struct {
	bytes []byte // Valid while the body is held. Never changed.
	users atomic.Int32
	pool  *memory.Pool
	size  int64       // Of the buffer.
	lent  atomic.Bool // The buffer counts as lent.
}

// newBody returns a body that the caller holds, in a buffer that pool has lent.
func newBody(buffer []byte, pool *memory.Pool) *body {
	b := &body{bytes: buffer, pool: pool, size: int64(cap(buffer))}
	b.users.Store(1)
	b.lent.Store(true)
	return b
}

// hold adds a user. The caller holds the body itself.
func (b *body) hold() { b.users.Add(1) }

// release ends the hold of one user. Each user calls it once.
func (b *body) release() {
	if b.users.Add(-1) > 0 {
		return
	}
	if b.lent.CompareAndSwap(true, false) {
		b.pool.TakeBack(b.bytes)
	} else {
		b.pool.Keep(b.bytes)
	}
	b.bytes = nil
}

// forgo counts the buffer as free although a user may hold the body for ever. It is left to the garbage collector if that
// user never releases it.
func (b *body) forgo() {
	if b.lent.CompareAndSwap(true, false) {
		b.pool.Give(b.size)
	}
}

// reader returns a reader of the whole body, for a transport. The caller sees to it that the body is held for as long
// as the transport reads.
func (b *body) reader() io.ReadCloser { return io.NopCloser(bytes.NewReader(b.bytes)) }
