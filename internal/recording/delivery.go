package recording

import (
	"context"
	"errors"
	"fmt"
	"time"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

const (
	// deliverTimeout bounds one call that hands records over. A control plane waits for its database that long.
	deliverTimeout = 30 * time.Second
	// refusalPatience is how long a control plane may refuse everything before the records are taken to be at fault,
	// and not the control plane.
	refusalPatience = 5 * time.Minute
)

// delivery hands records to a control plane. It belongs to one goroutine.
type delivery struct {
	duplicates int64 // How many the control plane had already, as far as it says.

	refusing time.Time // Since when everything has been refused; zero: something was not.
}

// attempt is one call of send.
type attempt struct {
	client   proto.DRPCRecorderClient
	entries  [][]byte
	next     int // The first entry that is in no batch yet.
	failures []outbox.Failure
	unclear  []int // Indexes in failures: refusals that may be the record's fault or the control plane's.
	taken    int   // How many records the control plane has taken.
	lost     bool  // A call failed: all entries that follow are among the failures.
}

// send hands over the records of entries in their order. It returns the entries that the control plane did not take, by
// their index in entries. An error says that nothing is known about any of them.
func (d *delivery) send(ctx context.Context, client proto.DRPCRecorderClient, entries [][]byte) ([]outbox.Failure, error) {
	a := &attempt{client: client, entries: entries}
	for first := true; a.next < len(entries) && !a.lost; first = false {
		b := a.batch()
		if len(b.indexes) == 0 {
			continue // Nothing in it can be read.
		}
		if err := d.sendBatch(ctx, a, b); err != nil {
			if first {
				d.refusing = time.Time{}
				return nil, err
			}
			a.fail(b.indexes[0], err)
		}
	}
	d.judge(a)
	return a.failures, nil
}

// refuse notes that an entry is not to be sent again.
func (a *attempt) refuse(index int, err error) {
	a.failures = append(a.failures, outbox.Failure{Index: index, Err: err, Permanent: true})
}

// fail notes that all entries from one on are to be sent again.
func (a *attempt) fail(from int, err error) {
	a.lost = true
	for i := from; i < len(a.entries); i++ {
		a.failures = append(a.failures, outbox.Failure{Index: i, Err: err})
	}
}

// judge decides whose fault the unclear refusals are. If other records are taken, a record that is refused is at fault
// itself, and must not hold up the others. If nothing is taken, the control plane may have failed: some control planes
// say so in no other way.
func (d *delivery) judge(a *attempt) {
	switch {
	case len(a.unclear) == 0, a.taken > 0, a.lost:
		d.refusing = time.Time{}
	case d.refusing.IsZero():
		d.refusing = time.Now()
	}
	if a.taken > 0 || !d.refusing.IsZero() && time.Since(d.refusing) > refusalPatience {
		for _, i := range a.unclear {
			a.failures[i].Permanent = true
		}
	}
}

// sendBatch hands a batch over in one call. If the control plane refuses that call, since it knows no batches or does
// not accept this one, sendBatch hands the records over one by one.
func (d *delivery) sendBatch(ctx context.Context, a *attempt, b batch) error {
	call, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	response, err := b.send(call, a.client)
	switch {
	case err == nil:
	case isRefusal(err):
		a.sendSingly(ctx, b)
		return nil
	default:
		return err
	}
	for _, f := range response.GetFailures() {
		index := int(f.GetIndex())
		if index < 0 || index >= len(b.indexes) {
			return fmt.Errorf("control plane names record %d of %d as failed: %s", index, len(b.indexes), f.GetError())
		}
		a.failures = append(a.failures, outbox.Failure{Index: b.indexes[index], Err: errors.New(f.GetError()), Permanent: f.GetPermanent()})
	}
	d.duplicates += int64(response.GetDuplicates())
	a.taken += len(b.indexes) - len(response.GetFailures())
	return nil
}

// sendSingly hands records over one by one. If a call fails without being refused, its record and all that follow are
// to be sent again.
func (a *attempt) sendSingly(ctx context.Context, b batch) {
	for _, index := range b.indexes {
		record, err := a.record(index)
		if err != nil {
			a.refuse(index, err)
			continue
		}
		err = sendOne(ctx, a.client, record)
		switch {
		case err == nil, drpcerr.Code(err) == rpcstatus.AlreadyExists:
			a.taken++
		case isRefusal(err):
			isClear := drpcerr.Code(err) != 0
			if !isClear {
				a.unclear = append(a.unclear, len(a.failures))
			}
			a.failures = append(a.failures, outbox.Failure{Index: index, Err: err, Permanent: isClear})
		default:
			a.fail(index, err)
			return
		}
	}
}

// isRefusal reports whether an error is the control plane's answer to what was sent: it does not accept it, or it is
// more than a message carries. An error without a code may also be the only way in which a control plane says that it
// has failed.
func isRefusal(err error) bool {
	switch drpcerr.Code(err) {
	case rpcstatus.InvalidArgument, rpcstatus.NotFound, rpcstatus.AlreadyExists, rpcstatus.ResourceExhausted,
		rpcstatus.FailedPrecondition, rpcstatus.OutOfRange, rpcstatus.Unimplemented:
		return true
	case 0:
		return !rpcstatus.IsUnavailable(err)
	}
	return false
}

func sendOne(ctx context.Context, client proto.DRPCRecorderClient, record *proto.Record) (err error) {
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
