// Package memory bounds what the bodies of requests and answers take of the process's memory. A [Pool] lends the
// buffers that bodies are read and decoded into, and refuses to lend when the buffers in use have reached its limit.
package memory

import (
	"errors"
	"sync/atomic"
)

var (
	// ErrExhausted means that the buffers in use have reached the limit of their pool.
	ErrExhausted = errors.New("no memory for more bodies at the moment")
	// ErrNever means that a buffer is larger than a sixth of its pool's limit: none may be, even if no other is in use.
	ErrNever = errors.New("body larger than a sixth of the memory for all bodies")
)

// Large is the size above which a buffer counts as large. Large buffers may take three quarters of a pool's limit, so
// that a few large bodies do not keep out the many small ones. They are not kept for reuse.
const Large = 1 << 20

// sizes are the sizes of the buffers that are kept for reuse.
var sizes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10, Large}

// Pool lends buffers. Agents send hundreds of kilobytes with each request: if each request allocated its buffer, these
// would be most of the garbage collector's work. A sync.Pool would lose free buffers to the garbage collector. It is
// safe for concurrent use. A nil *Pool has no limit and keeps no buffers.
type Pool struct {
	limit int64
	used  atomic.Int64
	free  [len(sizes)]chan []byte
	turns chan struct{}
	// poison is for tests: a buffer that is taken back is overwritten, so that a test notices if something still reads
	// it.
	poison bool
}

// New returns a pool whose buffers in use take at most limit bytes together.
func New(limit int64) *Pool {
	p := &Pool{limit: limit, turns: make(chan struct{}, turns())}
	kept := min(32<<20, limit/16) // Of each size.
	for class, size := range sizes {
		p.free[class] = make(chan []byte, kept/int64(size))
	}
	return p
}

// Limit returns how many bytes the buffers in use may take together.
func (p *Pool) Limit() int64 { return p.limit }

// Used returns how many bytes the buffers in use take.
func (p *Pool) Used() int64 { return p.used.Load() }

// Take counts n bytes as used that are not a buffer of the pool. It fails with [ErrExhausted] or [ErrNever]. The caller
// gives them back with [Pool.Give].
func (p *Pool) Take(n int64) error {
	if p == nil {
		return nil
	}
	most := p.limit
	if n > Large {
		most -= most / 4
		if n > p.largest() {
			return ErrNever
		}
	}
	if p.used.Add(n) > most {
		p.used.Add(-n)
		return ErrExhausted
	}
	return nil
}

// largest returns the size of the largest buffer: a sixth of the limit, since a body is copied several times on its way
// to the database, by code that knows nothing of this pool.
func (p *Pool) largest() int64 { return max(p.limit/6, Large) }

// Give counts n bytes as free again.
func (p *Pool) Give(n int64) {
	if p != nil {
		p.used.Add(-n)
	}
}

// announced is the largest buffer that is lent for a size of which nothing has come yet. Otherwise, slow senders that
// announce much would hold the memory of others.
const announced = 64 << 10

// Lend returns an empty buffer for size bytes, or one of 64 KiB if size is larger: see [Pool.Grow]. It fails with
// [ErrExhausted].
func (p *Pool) Lend(size int64) ([]byte, error) { return p.lend(min(size, announced)) }

// LendFor returns an empty buffer for size bytes that are there to be copied. It fails with [ErrExhausted] or [ErrNever].
func (p *Pool) LendFor(size int64) ([]byte, error) { return p.lend(size) }

// lend lends a buffer of that size, or of the next one that is kept.
func (p *Pool) lend(size int64) ([]byte, error) {
	if size > Large {
		if err := p.Take(size); err != nil {
			return nil, err
		}
		return make([]byte, 0, size), nil
	}
	class := 0
	for int64(sizes[class]) < size {
		class++
	}
	if err := p.Take(int64(sizes[class])); err != nil {
		return nil, err
	}
	if p != nil {
		select {
		case buffer := <-p.free[class]:
			return buffer[:0], nil
		default:
		}
	}
	return make([]byte, 0, sizes[class]), nil
}

// Grow returns a buffer with the content of a full one and with room for more, and takes the full one back. The new
// buffer has at least size bytes, or the next size if size is not larger than the buffer that there is. If Grow fails, with
// [ErrExhausted] or [ErrNever], the full buffer stays lent.
func (p *Pool) Grow(full []byte, size int64) ([]byte, error) {
	if size <= int64(cap(full)) {
		size = next(cap(full))
		if p != nil && int64(cap(full)) < p.largest() {
			size = min(size, p.largest())
		}
	}
	larger, err := p.lend(size)
	if err != nil {
		return nil, err
	}
	larger = append(larger, full...)
	p.TakeBack(full)
	return larger, nil
}

// next returns the size after that of a full buffer whose body's size is not known. Above [Large] buffers grow by
// half: that copies a body three times, and leaves a third of the last one empty.
func next(size int) int64 {
	for _, larger := range sizes {
		if larger > size {
			return int64(larger)
		}
	}
	return int64(size + size/2)
}

// TakeBack takes back a buffer that nothing reads any more.
func (p *Pool) TakeBack(buffer []byte) {
	p.Forgo(buffer)
	p.Keep(buffer)
}

// Keep keeps a buffer for reuse that was forgone, and that nothing reads any more after all.
func (p *Pool) Keep(buffer []byte) {
	if p == nil {
		return
	}
	if p.poison {
		buffer = buffer[:cap(buffer)]
		for n := copy(buffer, "!"); n < len(buffer); n *= 2 {
			copy(buffer[n:], buffer[:n])
		}
	}
	for class, size := range sizes {
		if cap(buffer) != size {
			continue
		}
		select {
		case p.free[class] <- buffer:
		default:
		}
	}
}

// Forgo counts a lent buffer as free while something may still read it. If nobody calls [Pool.Keep] later, it is left to the
// garbage collector.
func (p *Pool) Forgo(buffer []byte) { p.Give(int64(cap(buffer))) }

// Poison makes the pool overwrite each buffer that it takes back. It is for tests.
func (p *Pool) Poison() { p.poison = true }
