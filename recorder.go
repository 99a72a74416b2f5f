package aibridged

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/proto"
)

// recorder hands the records of bridges to the control plane. It is safe for concurrent use.
type recorder struct {
	clientFn ClientFunc
}

var _ aibridge.Recorder = recorder{}

const (
	// recordTimeout bounds the delivery of the records of one step of an interception, with all its tries.
	recordTimeout    = 10 * time.Second
	recordBackoffMin = 20 * time.Millisecond
	recordBackoffMax = time.Second
)

// Record implements [aibridge.Recorder]: it returns once the control plane has stored the records. What fails for want
// of a connection or a database is tried again; each record has an id by which the control plane stores it once.
func (r recorder) Record(ctx context.Context, records ...aibridge.Record) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	pending := make([]*proto.Record, len(records))
	for i, record := range records {
		pending[i] = recordToProto(record)
	}
	var lost []error // What no further try will store.
	for backoff := recordBackoffMin; ; backoff = min(2*backoff, recordBackoffMax) {
		delivery := r.deliver(ctx, pending)
		lost = append(lost, delivery.lost...)
		if len(delivery.pending) == 0 {
			return errors.Join(lost...)
		}
		select {
		case <-time.After(backoff):
			pending = delivery.pending
		case <-ctx.Done():
			return errors.Join(append(lost, fmt.Errorf("%d records not stored: %w", len(delivery.pending), delivery.err))...)
		}
	}
}

// delivery is what one try to deliver records left.
type delivery struct {
	pending []*proto.Record // To be tried again, in their order.
	err     error           // Why.
	lost    []error
}

// deliver tries once. After a batch that failed it goes no further, which keeps the order.
func (r recorder) deliver(ctx context.Context, records []*proto.Record) delivery {
	client, err := r.clientFn()
	if err != nil {
		return delivery{pending: records, err: err}
	}
	var result delivery
	batches := [][]*proto.Record{records}
	if client.DRPCConn() != nil {
		batches = splitRecords(records)
	}
	for i, batch := range batches {
		sent := sendBatch(ctx, client, batch)
		result.lost = append(result.lost, sent.lost...)
		if len(sent.pending) > 0 {
			result.pending, result.err = append(sent.pending, slices.Concat(batches[i+1:]...)...), sent.err
			return result
		}
	}
	return result
}

// sendBatch sends records in one call, or one by one to a control plane that knows no batches.
func sendBatch(ctx context.Context, client DRPCClient, records []*proto.Record) delivery {
	response, err := client.RecordBatch(ctx, &proto.RecordBatchRequest{Records: records})
	switch {
	case drpcerr.Code(err) == drpcerr.Unimplemented:
		return sendSingly(ctx, client, records)
	case err != nil && isUnavailable(err):
		return delivery{pending: records, err: err}
	case err != nil:
		return delivery{lost: []error{fmt.Errorf("%d records refused: %w", len(records), err)}}
	}
	var result delivery
	for _, failure := range response.GetFailures() {
		index := int(failure.GetIndex())
		if failure.GetPermanent() || index < 0 || index >= len(records) {
			result.lost = append(result.lost, fmt.Errorf("record %d of %d refused: %s", index, len(records), failure.GetError()))
			continue
		}
		result.pending = append(result.pending, records[index])
		result.err = errors.New(failure.GetError())
	}
	return result
}

// sendSingly does not let a record that is refused keep back those after it.
func sendSingly(ctx context.Context, client DRPCClient, records []*proto.Record) delivery {
	var result delivery
	for i, record := range records {
		err := sendOne(ctx, client, record)
		switch {
		case err == nil:
		case isUnavailable(err):
			result.pending, result.err = records[i:], err
			return result
		default:
			result.lost = append(result.lost, fmt.Errorf("record %d of %d refused: %w", i, len(records), err))
		}
	}
	return result
}

func sendOne(ctx context.Context, client DRPCClient, record *proto.Record) (err error) {
	switch record := record.GetRecord().(type) {
	case *proto.Record_Interception:
		_, err = client.RecordInterception(ctx, record.Interception)
	case *proto.Record_InterceptionEnded:
		_, err = client.RecordInterceptionEnded(ctx, record.InterceptionEnded)
	case *proto.Record_TokenUsage:
		_, err = client.RecordTokenUsage(ctx, record.TokenUsage)
	case *proto.Record_PromptUsage:
		_, err = client.RecordPromptUsage(ctx, record.PromptUsage)
	case *proto.Record_ToolUsage:
		_, err = client.RecordToolUsage(ctx, record.ToolUsage)
	case *proto.Record_ModelThought:
		_, err = client.RecordModelThought(ctx, record.ModelThought)
	}
	return err
}
