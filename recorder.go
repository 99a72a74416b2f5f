package aibridged

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/proto"
)

// recorder records for the bridges of a pool, into what the pool's clients are of. It is safe for concurrent use.
type recorder struct {
	clientFn ClientFunc
}

var _ aibridge.Recorder = recorder{}

const (
	// recordTimeout bounds the delivery of records to a control plane that nothing queues for.
	recordTimeout    = 10 * time.Second
	recordBackoffMin = 20 * time.Millisecond
	recordBackoffMax = time.Second
)

// Record implements [aibridge.Recorder]. A client of a [Server] takes records into the server's queue. Any other is the
// control plane itself, which a pool without a server has: Record returns once that has stored them.
func (r recorder) Record(ctx context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	client, err := r.clientFn()
	if queue, ok := client.(aibridge.Recorder); ok && err == nil {
		return queue.Record(ctx, records...)
	}
	return nil, r.deliver(ctx, recordsToProto(records))
}

// deliver hands records to the control plane, for as long as it takes and at most for the time limit.
func (r recorder) deliver(ctx context.Context, records []*proto.Record) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	var (
		delivery delivery
		lost     []error // Of what no further try will store.
	)
	for backoff := recordBackoffMin; ; backoff = min(2*backoff, recordBackoffMax) {
		client, err := r.clientFn()
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
func (d *delivery) try(ctx context.Context, client DRPCClient, records []*proto.Record) (again []*proto.Record, lost []error, err error) {
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
