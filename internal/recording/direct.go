package recording

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/proto"
)

const (
	// directTimeout bounds the delivery of records to a control plane that nothing queues for.
	directTimeout    = 10 * time.Second
	directBackoffMin = 20 * time.Millisecond
	directBackoffMax = time.Second
)

// Direct hands records to the control plane at once. It is safe for concurrent use.
type Direct struct {
	// ClientFn returns a client of the control plane, or an error where there is none at the moment.
	ClientFn func() (proto.DRPCRecorderClient, error)
}

var _ aibridge.Recorder = Direct{}

// Record implements [aibridge.Recorder]: it returns once the control plane has stored the records, and fails where that
// takes too long.
func (d Direct) Record(ctx context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	return nil, d.deliver(ctx, recordsToProto(records))
}

// deliver hands records to the control plane, for as long as it takes and at most for the time limit.
func (d Direct) deliver(ctx context.Context, records []*proto.Record) error {
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	var (
		delivery delivery
		lost     []error // Of what no further try will store.
	)
	for backoff := directBackoffMin; ; backoff = min(2*backoff, directBackoffMax) {
		client, err := d.ClientFn()
		if err == nil {
			var refused []error
			records, refused, err = delivery.try(ctx, client, records)
			lost = append(lost, refused...)
		}
		if len(records) == 0 {
			return errors.Join(lost...)
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return errors.Join(append(lost, fmt.Errorf("%d records not stored: %w", len(records), err))...)
		}
	}
}

// try sends records once. It returns those to send again, with the reason in err, and why others are lost.
func (d *delivery) try(ctx context.Context, client proto.DRPCRecorderClient, records []*proto.Record) (again []*proto.Record, lost []error, err error) {
	failures, err := d.send(ctx, client, records)
	if err != nil {
		return records, nil, err
	}
	for _, f := range failures {
		if f.Permanent {
			lost = append(lost, fmt.Errorf("record %d of %d refused: %w", f.Index, len(records), f.Err))
			continue
		}
		again, err = append(again, records[f.Index]), f.Err
	}
	return again, lost, err
}
