package recording

import (
	"bytes"
	"maps"
	"slices"

	"github.com/google/uuid"
)

// openInterceptions are those that have started and not ended, as the queue's log has it: at a start, those that the end
// of an earlier process cut. The queue makes one call at a time.
type openInterceptions struct {
	ids map[uuid.UUID]struct{}
}

// observe notes an entry of the log.
func (o *openInterceptions) observe(entry []byte) {
	head, _ := readHead(entry)
	switch head.kind {
	case entryStart:
		o.add(head.interception)
	case entryEnd:
		delete(o.ids, head.interception)
	}
}

func (o *openInterceptions) add(id uuid.UUID) {
	if o.ids == nil {
		o.ids = make(map[uuid.UUID]struct{})
	}
	o.ids[id] = struct{}{}
}

// snapshotFormat is the first byte of a snapshot. There is one though nothing is open: what was damaged before it does
// not matter then.
const snapshotFormat = 1

// snapshot returns what restore brings back.
func (o *openInterceptions) snapshot() []byte {
	snapshot := make([]byte, 1, 1+len(o.ids)*idBytes)
	snapshot[0] = snapshotFormat
	for id := range o.ids {
		snapshot = append(snapshot, id[:]...)
	}
	return snapshot
}

// all returns them, in the order of their starts: their ids are in it.
func (o *openInterceptions) all() []uuid.UUID {
	return slices.SortedFunc(maps.Keys(o.ids), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
}

// restore puts what was open at a point of the log in the place of what was known before.
func (o *openInterceptions) restore(snapshot []byte) {
	if len(snapshot) == 0 || snapshot[0] != snapshotFormat {
		return
	}
	clear(o.ids)
	for id := range slices.Chunk(snapshot[1:], idBytes) {
		if len(id) == idBytes {
			o.add(uuid.UUID(id))
		}
	}
}
