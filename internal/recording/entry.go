package recording

import (
	"errors"

	"github.com/google/uuid"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/coder/aibridged/proto"
)

// An entry of the queue is a record as the contract has it, behind a head of fixed size: what it is to its interception,
// in one byte, whose it is, and its own id.
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
	record       uuid.UUID // Nil for one that has no id.
}

var errNotEntry = errors.New("entry is no record")

// encodeEntries returns the entries of records.
func encodeEntries(records []*proto.Record) ([][]byte, error) {
	size := 0
	for _, record := range records {
		size += entryHeadBytes + protobuf.Size(record)
	}
	buffer := make([]byte, 0, size)
	entries := make([][]byte, len(records))
	for i, record := range records {
		begin := len(buffer)
		head := headOf(record)
		buffer = append(append(append(buffer, head.kind), head.interception[:]...), head.record[:]...)
		var err error
		// Size has been asked for: the sizes that it left in the message hold.
		if buffer, err = (protobuf.MarshalOptions{UseCachedSize: true}).MarshalAppend(buffer, record); err != nil {
			return nil, err
		}
		entries[i] = buffer[begin:len(buffer):len(buffer)]
	}
	return entries, nil
}

// headOf returns the head of a record's entry. A record of an unknown kind, or one whose interception has no id, is the
// control plane's to refuse.
func headOf(record *proto.Record) entryHead {
	head := entryHead{kind: entryWithin}
	switch r := record.GetRecord().(type) {
	case *proto.Record_Interception:
		head.kind, head.interception = entryStart, parseID(r.Interception.GetId())
		head.record = head.interception
	case *proto.Record_InterceptionEnded:
		head.kind, head.interception = entryEnd, parseID(r.InterceptionEnded.GetId())
		head.record = parseID(r.InterceptionEnded.GetRecordId())
	case *proto.Record_TokenUsage:
		head.interception, head.record = parseID(r.TokenUsage.GetInterceptionId()), parseID(r.TokenUsage.GetRecordId())
	case *proto.Record_PromptUsage:
		head.interception, head.record = parseID(r.PromptUsage.GetInterceptionId()), parseID(r.PromptUsage.GetRecordId())
	case *proto.Record_ToolUsage:
		head.interception, head.record = parseID(r.ToolUsage.GetInterceptionId()), parseID(r.ToolUsage.GetRecordId())
	case *proto.Record_ModelThought:
		head.interception, head.record = parseID(r.ModelThought.GetInterceptionId()), parseID(r.ModelThought.GetRecordId())
	}
	if head.interception == uuid.Nil {
		head.kind = entryWithin
	}
	return head
}

// parseID returns the id, nil for what is none.
func parseID(text string) uuid.UUID {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil
	}
	return id
}

// readHead returns the head of an entry, and whether it has one.
func readHead(entry []byte) (head entryHead, ok bool) {
	if len(entry) < entryHeadBytes {
		return entryHead{}, false
	}
	return entryHead{
		kind: entry[0], interception: uuid.UUID(entry[1 : 1+idBytes]), record: uuid.UUID(entry[1+idBytes : entryHeadBytes]),
	}, true
}

// decodeEntry returns the record of an entry, which it does not keep.
func decodeEntry(entry []byte) (*proto.Record, error) {
	if len(entry) < entryHeadBytes {
		return nil, errNotEntry
	}
	record := &proto.Record{}
	if err := protobuf.Unmarshal(entry[entryHeadBytes:], record); err != nil {
		return nil, err
	}
	return record, nil
}
