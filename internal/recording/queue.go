// Package recording delivers the records of bridges to a control plane: through a queue that keeps them until the
// control plane has them, or directly if there is no queue.
//
//	queue, err := recording.Open(recording.Options{Directory: dir, Logger: logger})
//	queue.Deliver(clientFn)
//	commit, err := queue.Record(ctx, start, prompt)  // Written; commit.Wait returns when it is safe.
//	err = queue.Close(ctx, connected)
//
// A record is an entry of package outbox. If an interception has started in the log and not ended when a queue is
// opened, the end of an earlier process cut it off. Open then records its end.
package recording

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/proto"
)

const (
	// diskLinger is how long records that are on the disk wait for others, to go to the control plane in one batch. A
	// batch takes a call and a transaction, which cost as much as many records: if few requests come, a batch is most
	// of what each of them costs. memoryLinger is the same for records in memory, which a sudden end of the process
	// would lose.
	diskLinger   = 200 * time.Millisecond
	memoryLinger = 10 * time.Millisecond
	// deliveryBatch is how many records go together at most. At four records an interception, 20 batches carry 5,000
	// interceptions.
	deliveryBatch = 1000
)

// stuckGrace is how much longer than its context Close waits for a disk and a control plane that do not answer.
const stuckGrace = time.Second

// flushGrace is how long Close goes on delivering records in memory once its context has ended, since they end with the
// process.
const flushGrace = 5 * time.Second

// Queue keeps records until the control plane has them. It is safe for concurrent use.
type Queue struct {
	queue  *outbox.Queue
	logger slog.Logger
	goOn   bool // If there is no room for records, requests go on without them.
	memory bool

	encoders   encoders
	dropped    atomic.Int64 // Records that there was no room for.
	duplicates atomic.Int64
	failing    failing

	delivering sync.WaitGroup
	stop       context.CancelFunc
}

// Options say where records are kept. The zero Durability syncs, so it needs a Directory.
type Options struct {
	Directory  string // Where records are kept; each queue needs its own. Unused in memory.
	Durability outbox.Durability
	MaxBytes   int64        // How much may wait. Zero means the default of package outbox.
	Lock       *outbox.Lock // Of Directory, if the caller has it. It stays the caller's.
	// GoOn says that records are dropped if there is no room for them, which is counted and logged, instead of refused.
	GoOn   bool
	Logger slog.Logger
	Files  outbox.FileSystem // The file system of Directory. Nil means the disk; tests use others.
}

// Open opens a queue and ends the interceptions that an earlier process left open in it. The caller closes it.
func Open(options Options) (*Queue, error) {
	var open openInterceptions
	log := outbox.Options{Durability: options.Durability, MaxBytes: options.MaxBytes, Lock: options.Lock, Logger: options.Logger}
	if options.Durability != outbox.Memory { // In memory, no later process reads the log.
		log.Head = open.snapshot
		log.Observe = func(kind outbox.Kind, entry []byte) {
			if kind == outbox.Head {
				open.restore(entry)
			} else {
				open.observe(entry)
			}
		}
	}
	queue, err := outbox.Open(options.Directory, log.On(options.Files))
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	q := &Queue{queue: queue, logger: options.Logger, goOn: options.GoOn, memory: options.Durability == outbox.Memory}
	if q.memory {
		q.logger.Info(context.Background(), "records wait for the control plane in memory: those that it does not have when this process ends are lost; name a directory to keep them")
	}
	if err := q.endCut(open.all()); err != nil {
		return nil, errors.Join(err, queue.Close())
	}
	return q, nil
}

// endCut ends interceptions that were open when their process ended.
func (q *Queue) endCut(cut []uuid.UUID) error {
	if len(cut) == 0 {
		return nil
	}
	ends := make([]aibridge.Record, len(cut))
	for i, id := range cut {
		record, err := uuid.NewV7()
		if err != nil {
			return err
		}
		ends[i] = &aibridge.InterceptionEnd{
			RecordID: record, InterceptionID: id, EndedAt: time.Now(),
			ErrorType: aibridge.ErrorTruncated, ErrorMessage: "the gateway's process ended before the answer did",
		}
	}
	if _, err := q.append(ends); err != nil {
		return fmt.Errorf("records: end the interceptions that were cut: %w", err)
	}
	q.logger.Warn(context.Background(), "an earlier process ended in the middle of interceptions: they are recorded as truncated",
		slog.F("interceptions", len(cut)))
	return nil
}

// Record implements [aibridge.Recorder].
func (q *Queue) Record(ctx context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	commit, err := q.append(records)
	switch {
	case err == nil && q.goOn:
		return indifferent{commit, q, len(records)}, nil
	case err == nil:
		return commit, nil
	case q.goOn:
		q.drop(ctx, len(records), err)
		return nil, nil
	}
	if errors.Is(err, outbox.ErrFull) {
		err = fmt.Errorf("%w: %w", aibridge.ErrNoRoom, err)
	}
	return nil, err
}

// indifferent is a commit that lets the answer go though its records may be lost.
type indifferent struct {
	outbox.Commit

	queue   *Queue
	records int
}

// Wait implements [aibridge.Commit].
func (c indifferent) Wait(ctx context.Context) error {
	err := c.Commit.Wait(ctx)
	if err != nil && ctx.Err() == nil {
		c.queue.drop(ctx, c.records, err)
		return nil
	}
	return err
}

// Stats is the state of a queue. Its own counters count from when the queue was opened.
type Stats struct {
	outbox.Stats

	Dropped    int64 // Records that were given up for want of room.
	Duplicates int64 // Records that the control plane said it had already.
}

// Stats returns how the queue is at this moment.
func (q *Queue) Stats() Stats {
	return Stats{Stats: q.queue.Stats(), Dropped: q.dropped.Load(), Duplicates: q.duplicates.Load()}
}

// Ready returns an error of one line if the queue should not be given more: see [outbox.Queue.Ready]. That is so, too, when a
// control plane that answers has taken no records for a minute. If requests go on without records, it is always ready.
func (q *Queue) Ready() error {
	if q.goOn {
		return nil
	}
	if err := q.queue.Ready(); err != nil {
		return err
	}
	return q.failing.ready()
}

func (q *Queue) drop(ctx context.Context, records int, err error) {
	q.dropped.Add(int64(records))
	q.logger.Error(ctx, "records dropped, as configured", slog.F("records", records), slog.Error(err))
}

// append puts records into the queue. What belongs to interceptions that have begun may use the room in reserve.
func (q *Queue) append(records []aibridge.Record) (outbox.Commit, error) {
	encoder := q.encoders.get()
	defer q.encoders.put(encoder) // The queue does not keep the entries.
	entries, err := encoder.encode(records)
	if err != nil {
		return outbox.Commit{}, err
	}
	if entries[0][0] == entryStart {
		return q.queue.Append(entries...)
	}
	return q.queue.AppendReserved(entries...)
}

// Deliver begins to hand records to the control plane, until Close. It is called once. ClientFn waits for a client as
// long as its context lasts.
func (q *Queue) Deliver(clientFn func(context.Context) (proto.DRPCRecorderClient, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	q.stop = cancel
	linger := diskLinger
	if q.memory {
		linger = memoryLinger
	}
	q.delivering.Go(func() {
		var delivery delivery
		// It ends with the context or with the queue, and neither is a failure.
		_ = q.queue.Deliver(ctx, outbox.DeliverOptions{Linger: linger, BatchEntries: deliveryBatch}, func(ctx context.Context, entries [][]byte) ([]outbox.Failure, error) {
			client, err := clientFn(ctx)
			if err != nil {
				q.failing.note(nil, nil) // There is no control plane.
				return nil, err
			}
			defer func() { q.duplicates.Store(delivery.duplicates) }()
			failures, err := delivery.send(ctx, client, entries)
			q.failing.note(failures, err)
			return failures, err
		})
	})
}

// Close delivers what is pending until ctx ends, and records in memory for flushGrace longer, and then closes the
// queue. Records on disk that were not delivered stay there. connected ends when there will be no control plane any
// more; nothing is delivered after that.
//
// A call to the disk, or to a control plane in this process, can hang for ever. Close then fails soon after ctx has
// ended; what it has begun goes on, and keeps the directory's lock, until those calls return or the process ends.
func (q *Queue) Close(ctx, connected context.Context) error {
	closed := make(chan error, 1)
	go func() { closed <- q.close(ctx, connected) }()
	grace := stuckGrace
	if q.memory {
		grace += flushGrace
	}
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-closed:
		return err
	case <-timer.C:
		return fmt.Errorf("records: the disk or the control plane does not answer: %d records are not delivered, and those of the last moments may not be on the disk",
			q.queue.Stats().Pending)
	}
}

func (q *Queue) close(ctx, connected context.Context) error {
	patience, cancel := context.WithCancel(connected)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if q.memory {
			time.AfterFunc(flushGrace, cancel)
		} else {
			cancel()
		}
	})
	defer stop()
	flushed := q.queue.Flushed(patience)
	q.stop()
	q.delivering.Wait()
	pending := q.queue.Stats().Pending
	err := q.queue.Close()
	if flushed != nil && q.memory {
		err = errors.Join(err, fmt.Errorf("%d records were not delivered and are lost", pending))
	}
	return err
}
