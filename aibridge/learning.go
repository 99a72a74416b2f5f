package aibridge

import (
	"bytes"

	"github.com/coder/aibridged/internal/keys"
	"github.com/coder/aibridged/internal/wire"
)

// learning notes, while an answer is read along, what of it belongs to the account of the key that it came with: the ids under
// which the upstream may store it, and what the upstream has encrypted. So it is known before the client gets it.
type learning struct {
	pool   *keys.Pool
	choice keys.Choice
	isID   bool // An id has come. Most streams have one; some have another one in each event with the response.
}

// learnFrom returns a learning for an answer, or nil if there is nothing to be learnt: no other account could be meant, or the
// request was refused.
func (k *keyed) learnFrom(status int) *learning {
	if k.pool == nil || k.pool.Len() == 1 || status < 200 || status > 299 {
		return nil
	}
	return &learning{pool: k.pool, choice: k.choice}
}

// note notes what an event, or a whole answer, has.
func (l *learning) note(data []byte) {
	if !l.isID || bytes.Contains(data, []byte(`"response":`)) {
		for _, id := range wire.StoredIDs(data) {
			l.isID = true
			l.pool.Stores(l.choice, id)
		}
	}
	for _, seal := range sealsIn(l.pool, data) {
		l.pool.Sealed(l.choice, seal)
	}
}
