package aibridge

import (
	"io"
	"sync"
)

// copyBuffers lends ReverseProxy the buffers that it copies answers through, so that they are not made anew for each
// request. The zero value is ready.
type copyBuffers struct {
	pool sync.Pool
}

// copyBuffer is the size that ReverseProxy itself uses.
const copyBuffer = 32 << 10

// Get implements [net/http/httputil.BufferPool].
func (b *copyBuffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[copyBuffer]byte); ok {
		return buffer[:]
	}
	return new([copyBuffer]byte)[:]
}

// Put implements [net/http/httputil.BufferPool].
func (b *copyBuffers) Put(buffer []byte) {
	b.pool.Put((*[copyBuffer]byte)(buffer))
}

// bodyBuffers lends the buffers that request bodies are read into. Agents send hundreds of kilobytes with each request:
// made anew, these would be most of what the gateway's garbage collector has to do. Those that are free are kept, up to
// keptBytes of each size: a sync.Pool would lose them to that same collector.
type bodyBuffers struct {
	free [len(bodySizes)]chan []byte
}

// bodySizes are the sizes of the buffers. Larger bodies are read into memory of their own.
var bodySizes = [...]int{16 << 10, 64 << 10, 256 << 10, 1 << 20}

const keptBytes = 4 << 20

func newBodyBuffers() *bodyBuffers {
	b := &bodyBuffers{}
	for class, size := range bodySizes {
		b.free[class] = make(chan []byte, keptBytes/size)
	}
	return b
}

// lend returns an empty buffer for a body of that size. A size that is only claimed costs no more than the largest
// buffer.
func (b *bodyBuffers) lend(size int64) []byte {
	class := 0
	for class < len(bodySizes)-1 && int64(bodySizes[class]) < size {
		class++
	}
	select {
	case buffer := <-b.free[class]:
		return buffer[:0]
	default:
		return make([]byte, 0, bodySizes[class])
	}
}

// takeBack takes a buffer that nobody reads any more. One that has grown beyond what was lent is left to the collector.
func (b *bodyBuffers) takeBack(buffer []byte) {
	for class, size := range bodySizes {
		if cap(buffer) != size {
			continue
		}
		select {
		case b.free[class] <- buffer:
		default:
		}
	}
}

// sentBody is a body as the transport reads it, from another goroutine, which may go on when the answer is there. Its
// buffer goes back once it has been read or closed, whichever is first: a stream that lasts for minutes does not hold
// its request.
type sentBody struct {
	mu     sync.Mutex
	rest   []byte // Guarded by mu; what has not been read.
	giveUp func() // Guarded by mu; gives the buffer back, nil once that is done.
}

func newSentBody(body []byte, buffers *bodyBuffers) *sentBody {
	return &sentBody{rest: body, giveUp: func() { buffers.takeBack(body) }}
}

// Read implements [io.Reader].
func (s *sentBody) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	if len(s.rest) == 0 {
		s.end()
	}
	return n, nil
}

// Close implements [io.Closer]. After it nothing is read.
func (s *sentBody) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	return nil
}

// end gives the buffer back. It is called with mu held.
func (s *sentBody) end() {
	if s.giveUp != nil {
		s.giveUp()
		s.rest, s.giveUp = nil, nil
	}
}
