package recording

import (
	"errors"

	"github.com/google/uuid"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/coder/aibridged/proto"
)

// An entry of the queue is the contract's message Record, encoded, behind a head of fixed size: one byte that says
// whether the record is its interception's start, its end or something between, the id of the interception, and the
// record's own id.
const (
	entryStart  = 's'
	entryEnd    = 'e'
	entryWithin = 'w'

	idBytes        = len(uuid.UUID{})
	entryHeadBytes = 1 + 2*idBytes
)

// entryHead is the beginning of an entry.
type entryHead struct {
	kind         byte
	interception uuid.UUID
}

var errNotEntry = errors.New("entry is no record")

// readHead returns the head of an entry, and whether it has one.
func readHead(entry []byte) (head entryHead, ok bool) {
	if len(entry) < entryHeadBytes {
		return entryHead{}, false
	}
	return entryHead{kind: entry[0], interception: uuid.UUID(entry[1 : 1+idBytes])}, true
}

// messageOf returns the bytes of the message of an entry.
func messageOf(entry []byte) ([]byte, error) {
	if len(entry) < entryHeadBytes {
		return nil, errNotEntry
	}
	return entry[entryHeadBytes:], nil
}

// decodeEntry returns the record of an entry, which it does not keep.
func decodeEntry(entry []byte) (*proto.Record, error) {
	message, err := messageOf(entry)
	if err != nil {
		return nil, err
	}
	record := &proto.Record{}
	if err := protobuf.Unmarshal(message, record); err != nil {
		return nil, err
	}
	return record, nil
}
