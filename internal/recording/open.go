package recording

import (
	"bytes"
	"maps"
	"slices"

	"github.com/google/uuid"
)

// openInterceptions are those that have started and not ended, according to the queue's log. When the queue is opened,
// they are those that the end of an earlier process cut off. The queue makes one call at a time.
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

// snapshotFormat is the first byte of a snapshot. A snapshot is written even if nothing is open, so that damage before
// it does not matter.
const snapshotFormat = 1

// snapshot returns the ids that are open, for restore.
func (o *openInterceptions) snapshot() []byte {
	snapshot := make([]byte, 1, 1+len(o.ids)*idBytes)
	snapshot[0] = snapshotFormat
	for id := range o.ids {
		snapshot = append(snapshot, id[:]...)
	}
	return snapshot
}

// all returns the ids that are open, in the order of their starts, which is the order of the ids.
func (o *openInterceptions) all() []uuid.UUID {
	return slices.SortedFunc(maps.Keys(o.ids), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
}

// restore replaces what is known by a snapshot.
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
