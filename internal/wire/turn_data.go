package wire

import (
	"encoding/binary"
	"errors"
	"iter"

	"github.com/coder/aibridged/internal/memory"
)

// ErrTurnTooLarge means that a turn is too large to be continued, or that there is no memory for it.
var ErrTurnTooLarge = errors.New("the model's turn is too large to be continued")

// TurnData keeps the data of a round's events as they came, so that the turn can be built of them if the model has called
// a tool of the gateway: most turns are never built. It keeps 32 MiB. The zero TurnData is empty, and has no other limit.
type TurnData struct {
	// Memory is what the data takes its memory from. Nil has no limit.
	Memory *memory.Share
	data   []byte // Of each event its length and then its data.
	taken  int
	full   bool
}

// Add adds the data of an event.
func (d *TurnData) Add(data []byte) {
	if d.full {
		return
	}
	need := len(d.data) + len(data) + binary.MaxVarintLen64
	if more := need - max(uncounted, d.taken); more > 0 {
		more = (more + memoryStep - 1) / memoryStep * memoryStep
		if need > textLimit || d.Memory.Take(int64(more)) != nil {
			d.full, d.data = true, nil
			return
		}
		d.taken = max(uncounted, d.taken) + more
	}
	d.data = append(binary.AppendUvarint(d.data, uint64(len(data))), data...)
}

// Reset forgets all data. The memory that it took is used for what comes next.
func (d *TurnData) Reset() { d.data, d.full = d.data[:0], false }

// Err returns [ErrTurnTooLarge] if data did not fit.
func (d *TurnData) Err() error {
	if d.full {
		return ErrTurnTooLarge
	}
	return nil
}

// All returns the data in the order in which it was added. It stays valid until the next call of Reset.
func (d *TurnData) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := d.data; len(rest) > 0; {
			size, n := binary.Uvarint(rest)
			if !yield(rest[n : n+int(size)]) {
				return
			}
			rest = rest[n+int(size):]
		}
	}
}
