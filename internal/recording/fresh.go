package recording

import (
	"sync"

	"github.com/google/uuid"

	"github.com/coder/aibridged/proto"
)

const (
	// mostFresh is how many records are kept as messages beside their entries.
	mostFresh = 4096
	// largestFresh is the largest entry that this is done for: long ones are few, and would hold memory in an outage.
	largestFresh = 4 << 10
)

// freshRecords are the messages of records that have just been appended: most are delivered at once, and to decode them
// from their entries again would cost more than to write these. It is safe for concurrent use.
type freshRecords struct {
	mu       sync.Mutex
	messages map[uuid.UUID]*proto.Record // Guarded by mu; by their own ids.
}

// add keeps the messages of entries that are about to be appended, as far as there is room.
func (f *freshRecords) add(entries [][]byte, records []*proto.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.messages == nil {
		f.messages = make(map[uuid.UUID]*proto.Record)
	}
	for i, entry := range entries {
		if len(entry) > largestFresh || len(f.messages) >= mostFresh {
			continue
		}
		if head, ok := readHead(entry); ok && head.record != uuid.Nil {
			f.messages[head.record] = records[i]
		}
	}
}

// take returns the records of entries, with nil for those that are to be decoded, and forgets them.
func (f *freshRecords) take(entries [][]byte) []*proto.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	records := make([]*proto.Record, len(entries))
	for i, entry := range entries {
		if head, ok := readHead(entry); ok {
			records[i] = f.messages[head.record]
			delete(f.messages, head.record)
		}
	}
	return records
}
