package aibridge

import "io"

// replayed is a body of which the beginning has been read: it gives that once more, and then the rest.
type replayed struct {
	io.ReadCloser // The rest.

	before []byte
	err    error // With which the reading ended that gave before; nil: the rest goes on.
}

// Read implements [io.Reader].
func (r *replayed) Read(p []byte) (int, error) {
	if len(r.before) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		return r.ReadCloser.Read(p)
	}
	n := copy(p, r.before)
	r.before = r.before[n:]
	if len(r.before) == 0 && r.err != nil {
		return n, r.err
	}
	return n, nil
}
