package aibridge

import (
	"bytes"
	"io"
	"slices"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/upstream"
)

// outgoing is the body of a request as it goes upstream: a body in memory, in which edits may have been made. It holds that body,
// of which there is no copy. The zero value is none. It can be sent any number of times.
type outgoing struct {
	of     *body
	pieces [][]byte // Valid while the body is held, and never changed.
}

// unchanged returns what sends a body as it is. The caller releases it.
func unchanged(of *body) outgoing {
	of.hold()
	return outgoing{of: of, pieces: [][]byte{of.bytes}}
}

// edited returns what sends a body with edits made, which nobody may change from now on. The caller releases it. It fails if the
// edits cannot be made.
func edited(of *body, edits []jsonedit.Edit) (outgoing, error) {
	pieces, err := jsonedit.Pieces(of.bytes, edits...)
	if err != nil {
		return outgoing{}, err
	}
	of.hold()
	return outgoing{of: of, pieces: pieces}, nil
}

// release ends the hold of the body, unless that has been done.
func (o *outgoing) release() {
	letGo(&o.of)
	o.pieces = nil
}

// length returns the number of bytes.
func (o outgoing) length() (n int64) {
	for _, piece := range o.pieces {
		n += int64(len(piece))
	}
	return n
}

// reader returns a reader of the whole body, for a transport. The caller sees to it that the body is held for as long as the
// transport reads.
func (o outgoing) reader() io.ReadCloser {
	if len(o.pieces) == 1 {
		// The reader is of a type that net/http knows to be in memory: for other types, net/http sends the header of the
		// request first, in a write of its own.
		return io.NopCloser(bytes.NewReader(o.pieces[0]))
	}
	return upstream.Pieces(o.pieces...)
}

// some reports whether a piece is as is says. Edits are of whole members and elements, so that nothing of one is in two pieces.
func (o outgoing) some(is func(piece []byte) bool) bool { return slices.ContainsFunc(o.pieces, is) }
