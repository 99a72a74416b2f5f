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
	// directTimeout bounds the delivery of records without a queue.
	directTimeout = 10 * time.Second
	// directPause is the pause before they are tried again.
	directPause = 100 * time.Millisecond
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
	entries, err := new(encoder).encode(records)
	if err != nil {
		return nil, err
	}
	return nil, d.deliver(ctx, entries)
}

// deliver hands entries to the control plane, and tries again until all are stored or refused, or directTimeout has
// passed.
func (d Direct) deliver(ctx context.Context, entries [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	var (
		delivery delivery
		lost     []error // Why entries were refused for good.
	)
	for {
		again, refused, err := d.try(ctx, &delivery, entries)
		entries, lost = again, append(lost, refused...)
		if len(entries) == 0 {
			return errors.Join(lost...)
		}
		select {
		case <-time.After(directPause):
		case <-ctx.Done():
			return errors.Join(append(lost, fmt.Errorf("%d records not stored: %w: %w", len(entries), ctx.Err(), err))...)
		}
	}
}

// try hands entries over once. It returns those to send again, with the reason in err, and why others are lost.
func (d Direct) try(ctx context.Context, delivery *delivery, entries [][]byte) (again [][]byte, lost []error, err error) {
	client, err := d.ClientFn()
	if err != nil {
		return entries, nil, err
	}
	failures, err := delivery.send(ctx, client, entries)
	if err != nil {
		return entries, nil, err
	}
	for _, f := range failures {
		if f.Permanent {
			lost = append(lost, fmt.Errorf("record %d of %d refused: %w", f.Index, len(entries), f.Err))
			continue
		}
		again, err = append(again, entries[f.Index]), f.Err
	}
	return again, lost, err
}
