package recording

import (
	"context"

	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"
	"storj.io/drpc"

	"github.com/coder/aibridged/proto"
)

// batch is what one call hands over: records to a control plane in this process, or, over a connection, the bytes of
// the request, which contain the messages of the entries as they are.
type batch struct {
	indexes []int // Of the batch's entries, in attempt.entries.
	records []*proto.Record
	request []byte
}

// batch returns the next entries that fit into a call: all of them if the control plane is in this process. It leaves
// out an entry that cannot be read, and notes that as a failure.
func (a *attempt) batch() batch {
	rest := a.entries[a.next:]
	b := batch{indexes: make([]int, 0, len(rest))}
	if a.client.DRPCConn() == nil {
		b.records = make([]*proto.Record, 0, len(rest))
		for ; a.next < len(a.entries); a.next++ {
			record, err := decodeEntry(a.entries[a.next])
			if err != nil {
				a.refuse(a.next, err)
				continue
			}
			b.indexes, b.records = append(b.indexes, a.next), append(b.records, record)
		}
		return b
	}
	size := 0
	for _, entry := range rest {
		size += len(entry) // With the entry's head, which is larger than the overhead of a record in a request.
	}
	b.request = make([]byte, 0, min(size, batchBytes))
	for ; a.next < len(a.entries); a.next++ {
		message, err := a.message(a.next)
		if err != nil {
			a.refuse(a.next, err)
			continue
		}
		if len(b.indexes) > 0 && len(b.request)+len(message)+recordOverhead > batchBytes {
			break
		}
		b.indexes = append(b.indexes, a.next)
		b.request = protowire.AppendTag(b.request, requestRecords, protowire.BytesType)
		b.request = protowire.AppendBytes(b.request, message)
	}
	return b
}

// message returns the message of an entry for a connection. Only a message that is too long is decoded, and cut.
func (a *attempt) message(index int) ([]byte, error) {
	message, err := messageOf(a.entries[index])
	if err != nil || len(message)+recordOverhead <= batchBytes {
		return message, err
	}
	record, err := a.record(index)
	if err != nil {
		return nil, err
	}
	return protobuf.Marshal(record)
}

// record returns the record of an entry, cut if a connection cannot carry it whole.
func (a *attempt) record(index int) (*proto.Record, error) {
	record, err := decodeEntry(a.entries[index])
	if err == nil && a.client.DRPCConn() != nil && len(a.entries[index])-entryHeadBytes+recordOverhead > batchBytes {
		cutRecord(record)
	}
	return record, err
}

const (
	// requestRecords is the number of the only field of proto.RecordBatchRequest.
	requestRecords protowire.Number = 1
	// recordOverhead is how many bytes the tag and the length of a record take there at most.
	recordOverhead = 8
	// recordBatchRPC is the call that takes such a request.
	recordBatchRPC = "/proto.Recorder/RecordBatch"
)

// send makes the call.
func (b batch) send(ctx context.Context, client proto.DRPCRecorderClient) (*proto.RecordBatchResponse, error) {
	if b.request == nil {
		return client.RecordBatch(ctx, &proto.RecordBatchRequest{Records: b.records})
	}
	response := &proto.RecordBatchResponse{}
	if err := client.DRPCConn().Invoke(ctx, recordBatchRPC, encoded{}, b.request, response); err != nil {
		return nil, err
	}
	return response, nil
}

// encoded is the encoding of a call whose request is encoded already.
type encoded struct{}

var _ drpc.Encoding = encoded{}

// Marshal implements [drpc.Encoding].
func (encoded) Marshal(request drpc.Message) ([]byte, error) { return request.([]byte), nil }

// Unmarshal implements [drpc.Encoding].
func (encoded) Unmarshal(buf []byte, response drpc.Message) error {
	return protobuf.Unmarshal(buf, response.(protobuf.Message))
}
