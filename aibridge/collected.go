package aibridge

import (
	"context"

	"github.com/coder/aibridged/internal/contentcoding"
)

// collect keeps the next bytes of a JSON value that goes on as it comes, since it can be read only as a whole. A value for
// which there is no memory, or that is too large, is relayed unread.
func (r *round) collect(p []byte) {
	r.value.Feed(p)
	if r.large != nil {
		r.skip(p)
		return
	}
	var err error
	if r.whole == nil {
		r.whole, err = r.pool.Lend(int64(len(p)))
	}
	for err == nil && len(r.whole)+len(p) > cap(r.whole) {
		var larger []byte
		if larger, err = r.pool.Grow(r.whole, 0); err == nil {
			r.whole = larger
		}
	}
	if err != nil || len(r.whole)+len(p) > mostRead {
		r.skip(r.whole)
		r.skip(p)
		return
	}
	r.whole = append(r.whole, p...)
}

// readCollected reads a value that has come to its end. The answer has been paid for, so it waits for its turn even if the
// client has left.
func (r *round) readCollected(clean bool) {
	if r.large != nil || !clean {
		return
	}
	done, err := r.pool.Turn(context.Background(), contentcoding.Expected(r.coding, r.whole))
	if err != nil {
		r.skip(r.whole)
		return
	}
	defer done()
	r.read(r.whole)
}
