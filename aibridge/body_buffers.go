package aibridge

// bodyBuffers lends the buffers that request bodies are read into. Agents send hundreds of kilobytes with each request:
// if each request allocated its buffer, these would be most of the garbage collector's work. Free buffers are kept, up
// to keptBytes of each size; a sync.Pool would lose them to the garbage collector. It is safe for concurrent use. A nil
// *bodyBuffers allocates each buffer.
type bodyBuffers struct {
	free [len(bodySizes)]chan []byte
	// poison is for tests: a buffer that is taken back is overwritten, so that a test notices if something still reads
	// it.
	poison bool
}

// bodySizes are the sizes of the buffers. Larger bodies are read into memory of their own.
var bodySizes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20}

const keptBytes = 16 << 20

func newBodyBuffers() *bodyBuffers {
	b := &bodyBuffers{}
	for class, size := range bodySizes {
		b.free[class] = make(chan []byte, keptBytes/size)
	}
	return b
}

// lend returns an empty buffer for a body of that size. A client that claims a size and does not send it costs no more
// than the largest buffer.
func (b *bodyBuffers) lend(size int64) []byte {
	class := 0
	for class < len(bodySizes)-1 && int64(bodySizes[class]) < size {
		class++
	}
	if b != nil {
		select {
		case buffer := <-b.free[class]:
			return buffer[:0]
		default:
		}
	}
	return make([]byte, 0, bodySizes[class])
}

// takeBack takes back a buffer that nothing reads any more. A buffer that has grown since it was lent is left to the
// garbage collector.
func (b *bodyBuffers) takeBack(buffer []byte) {
	if b == nil {
		return
	}
	if b.poison {
		buffer = buffer[:cap(buffer)]
		for n := copy(buffer, "!"); n < len(buffer); n *= 2 {
			copy(buffer[n:], buffer[:n])
		}
	}
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
