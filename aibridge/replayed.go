package aibridge

import "io"

// replayed is a body of which the beginning has been read: it gives that once more, and then the rest.
type replayed struct {
	io.ReadCloser // The rest.

	before  []byte
	err     error  // With which the reading ended that gave before; nil: the rest goes on.
	buffer  []byte // That of before, if it goes back to buffers.
	buffers *copyBuffers
}

// Read implements [io.Reader].
func (r *replayed) Read(p []byte) (int, error) {
	n := copy(p, r.before)
	r.before = r.before[n:]
	if len(r.before) > 0 {
		return n, nil
	}
	r.giveBack()
	switch {
	case r.err != nil:
		return n, r.err
	case n > 0:
		return n, nil
	}
	return r.ReadCloser.Read(p)
}

// Close implements [io.Closer].
func (r *replayed) Close() error {
	r.giveBack()
	return r.ReadCloser.Close()
}

func (r *replayed) giveBack() {
	if r.buffer != nil {
		r.buffers.Put(r.buffer)
		r.before, r.buffer = nil, nil
	}
}
