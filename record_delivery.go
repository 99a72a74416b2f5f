package aibridged

import (
	"context"
	"errors"
	"fmt"
	"time"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/proto"
)

const (
	// deliverTimeout bounds one call that hands records over. A control plane waits for its database that long.
	deliverTimeout = 30 * time.Second
	// refusalPatience is how long a control plane may refuse all it is sent before that is taken for the records' fault
	// and not for its own.
	refusalPatience = 5 * time.Minute
)

// delivery hands records to a control plane. It belongs to one goroutine.
type delivery struct {
	duplicates int64 // How many the control plane had already, as far as it says.

	refusing time.Time // Since when nothing but refusals came; zero: they do not.
}

// send hands records over in their order. It returns those that the control plane did not take, by their index in
// records; an error says that nothing is known of any.
func (d *delivery) send(ctx context.Context, client DRPCClient, records []*proto.Record) ([]outbox.Failure, error) {
	batches := [][]*proto.Record{records}
	if client.DRPCConn() != nil {
		batches = splitRecords(records)
	}
	var failures []outbox.Failure
	for offset := 0; len(batches) > 0; batches = batches[1:] {
		batch := batches[0]
		failed, err := d.sendBatch(ctx, client, batch)
		if err != nil && offset == 0 {
			return nil, err
		}
		if err != nil {
			return append(failures, unsent(offset, len(records), err)...), nil
		}
		for _, f := range failed {
			f.Index += offset
			failures = append(failures, f)
		}
		offset += len(batch)
	}
	return failures, nil
}

// unsent is the failure of all records from one on, which are to be sent again.
func unsent(from, to int, err error) []outbox.Failure {
	var failures []outbox.Failure
	for i := from; i < to; i++ {
		failures = append(failures, outbox.Failure{Index: i, Err: err})
	}
	return failures
}

// sendBatch hands records over in one call, or one by one to a control plane that knows no batches or does not like this
// one.
func (d *delivery) sendBatch(ctx context.Context, client DRPCClient, records []*proto.Record) ([]outbox.Failure, error) {
	call, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	response, err := client.RecordBatch(call, &proto.RecordBatchRequest{Records: records})
	switch {
	case err == nil:
	case isRecordRefusal(err):
		return d.sendSingly(ctx, client, records)
	default:
		return nil, err
	}
	d.refusing = time.Time{}
	d.duplicates += int64(response.GetDuplicates())
	failures := make([]outbox.Failure, 0, len(response.GetFailures()))
	for _, f := range response.GetFailures() {
		index := int(f.GetIndex())
		if index < 0 || index >= len(records) {
			return nil, fmt.Errorf("control plane names record %d of %d as failed: %s", index, len(records), f.GetError())
		}
		failures = append(failures, outbox.Failure{Index: index, Err: errors.New(f.GetError()), Permanent: f.GetPermanent()})
	}
	return failures, nil
}

// sendSingly hands records over one by one. What is refused while others are taken is refused for its own sake, and does
// not hold them up. Where all are, it may be the control plane that is ill: some say so in no other way.
func (d *delivery) sendSingly(ctx context.Context, client DRPCClient, records []*proto.Record) ([]outbox.Failure, error) {
	var failures []outbox.Failure
	for i, record := range records {
		err := sendOne(ctx, client, record)
		switch {
		case err == nil, drpcerr.Code(err) == codeAlreadyExists:
		case isRecordRefusal(err):
			failures = append(failures, outbox.Failure{Index: i, Err: err})
		default:
			return append(failures, unsent(i, len(records), err)...), nil
		}
	}
	if len(failures) < len(records) {
		d.refusing = time.Time{}
	} else if d.refusing.IsZero() {
		d.refusing = time.Now()
	}
	if d.refusing.IsZero() || time.Since(d.refusing) > refusalPatience {
		for i := range failures {
			failures[i].Permanent = true
		}
	}
	return failures, nil
}

// isRecordRefusal reports whether an error is the control plane's answer to a record: it was read and not liked.
func isRecordRefusal(err error) bool {
	switch drpcerr.Code(err) {
	case codeInvalidArgument, codeNotFound, codeAlreadyExists, codeFailedPrecondition, codeOutOfRange, drpcerr.Unimplemented:
		return true
	case 0:
		return !isUnavailable(err)
	}
	return false
}

func sendOne(ctx context.Context, client DRPCClient, record *proto.Record) (err error) {
	ctx, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
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
