package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"cdr.dev/slog/v3"
)

const (
	defaultBatchBytes   = 2 << 20
	defaultBatchEntries = 500

	backoffMin = 50 * time.Millisecond
	backoffMax = 10 * time.Second
	// lookInterval is how often the consumer looks for entries that were moved back.
	lookInterval = time.Second
)

var errDelivering = errors.New("outbox: another call of Deliver is under way")

// Send hands entries to the receiver, in order. It returns when the receiver has taken all of them except the failures.
// An error says that nothing is known about any of them: all are sent again. The entries must be neither kept nor
// changed, and the end of the context must end the call.
type Send func(ctx context.Context, entries [][]byte) ([]Failure, error)

// Failure says that the receiver did not take an entry.
type Failure struct {
	Index int // Of the entry, in what was sent.
	Err   error
	// Permanent says that the receiver never will: the entry is set aside. Otherwise the entry is sent again, before
	// any later one.
	Permanent bool
}

// DeliverOptions are the options of Deliver. The zero DeliverOptions are ready to use.
type DeliverOptions struct {
	// BatchBytes and BatchEntries are the most that one Send is given, except a single entry that is larger. Zero means
	// 2 MiB and 500.
	BatchBytes   int
	BatchEntries int
	// Linger is how long entries wait for others, to be sent together with them, if they are fewer than one Send may be
	// given. They do not wait while a call of [Queue.Flushed] waits.
	Linger time.Duration
}

// Deliver hands entries to send, oldest first, until the context ends, and returns the context's error; or [ErrClosed]
// once the queue is closed. On a disk, send is given entries once they are durable, or once the disk has failed
// to make them durable; a sync that hangs delays delivery. What fails is sent again, for ever, after pauses of 50 ms to 10 s.
// There is one consumer at a time: a second one fails at once.
func (q *Queue) Deliver(ctx context.Context, options DeliverOptions, send Send) error {
	ctx, begin, err := q.beginDeliver(ctx)
	if err != nil {
		return err
	}
	defer q.doneDelivering()
	c := &consumer{
		q: q, send: send, reader: q.newReader(begin, q.deliverable), backoff: backoffMin,
		maxEntries: or(options.BatchEntries, defaultBatchEntries), maxBytes: or(options.BatchBytes, defaultBatchBytes),
	}
	defer c.reader.close()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for idle := false; ; {
		if idle {
			select {
			case <-q.wake:
			case <-look.C:
				q.lookAround(ctx)
			case <-ctx.Done():
				return ended(ctx)
			}
		}
		c.linger(ctx, options.Linger)
		q.mu.Lock()
		end := q.deliverable()
		q.mu.Unlock()
		for more := true; more; more = !idle && c.reader.at.entry < end.entry {
			idle = c.deliver(ctx)
			select {
			case <-look.C:
				q.lookAround(ctx)
			case <-ctx.Done():
				return ended(ctx)
			default:
			}
		}
	}
}

// deliverable returns the place up to which entries may be handed out: on a disk, that up to which they are durable, or the
// disk has failed to make them durable. Otherwise the receiver could have an entry that the log loses
// in a power failure. The owner would not know of it, and if it is a start, its end would never follow. The caller has
// mu.
func (q *Queue) deliverable() place {
	if q.options.Durability == Memory {
		return q.end
	}
	return q.durable
}

// wakeConsumer tells the consumer that there may be something to hand out.
func (q *Queue) wakeConsumer() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// linger waits for more entries, at most until ctx ends, if there are some but not enough for a whole batch.
func (c *consumer) linger(ctx context.Context, d time.Duration) {
	if d <= 0 {
		runtime.Gosched() // Entries that are appended at the same time come into the same batch.
		return
	}
	select {
	case <-c.q.hurry: // A signal from before this wait.
	default:
	}
	c.q.mu.Lock()
	end := c.q.deliverable()
	entries, bytes := end.entry-c.reader.at.entry, end.position-c.reader.at.position
	enough := entries == 0 || entries >= uint64(c.maxEntries) || bytes >= int64(c.maxBytes) || c.q.flushing > 0
	c.q.mu.Unlock()
	if enough {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.q.hurry:
	case <-ctx.Done():
	}
}

func (q *Queue) beginDeliver(ctx context.Context) (context.Context, place, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closing:
		return nil, place{}, ErrClosed
	case q.delivering != nil:
		return nil, place{}, errDelivering
	}
	ctx, cancel := context.WithCancelCause(ctx)
	q.delivering = &delivery{cancel: cancel, done: make(chan struct{})}
	return ctx, q.read, nil
}

// delivery is a call of Deliver.
type delivery struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

func (q *Queue) doneDelivering() {
	q.mu.Lock()
	d := q.delivering
	q.delivering = nil
	q.mu.Unlock()
	d.cancel(nil)
	close(d.done)
}

// endDeliver ends Deliver and waits for it.
func (q *Queue) endDeliver() {
	q.mu.Lock()
	d := q.delivering
	q.mu.Unlock()
	if d != nil {
		d.cancel(ErrClosed)
		<-d.done
	}
}

func ended(ctx context.Context) error {
	if context.Cause(ctx) == ErrClosed {
		return ErrClosed
	}
	return ctx.Err()
}

// consumer is the state of a call of Deliver.
type consumer struct {
	q      *Queue
	send   Send
	reader *reader

	maxEntries int
	maxBytes   int

	payloads [][]byte // Room for what is sent.
	backoff  time.Duration
	failing  int // How many tries have failed in a row.
}

// deliver delivers one batch: it tries until the batch is delivered or the context ends. It returns true if there is no
// batch.
func (c *consumer) deliver(ctx context.Context) (idle bool) {
	items, err := c.reader.take(c.maxEntries, c.maxBytes)
	if err != nil {
		c.pause(ctx, fmt.Errorf("read outbox: %w", err))
		return false
	}
	if len(items) == 0 {
		if ctx.Err() == nil { // Else the reader is past a batch that was given up.
			c.passLost()
		}
		return true
	}
	c.q.waitingSince(items[0].at)
	last := items[len(items)-1].at
	for ctx.Err() == nil {
		if items, err = c.try(ctx, items); len(items) == 0 {
			c.q.waitingSince(last) // The next entry was appended no earlier. When it is taken, its own time is noted.
			c.q.advance(c.reader.at)
			return false
		}
		c.q.waitingSince(items[0].at)
		c.q.advance(items[0].place)
		c.pause(ctx, err)
		c.q.checkNames()
	}
	return false
}

// passLost notes that the last entries are lost: nothing is left to deliver, so nothing else would note it.
func (c *consumer) passLost() {
	c.q.mu.Lock()
	lost := c.q.read.position < c.reader.at.position
	c.q.mu.Unlock()
	if lost {
		c.q.advance(c.reader.at)
	}
}

// try sends items once, and returns those that are to be sent again, and why.
func (c *consumer) try(ctx context.Context, items []item) ([]item, error) {
	c.payloads = c.payloads[:0]
	for _, i := range items {
		c.payloads = append(c.payloads, i.payload)
	}
	failures, err := c.send(ctx, c.payloads)
	clear(c.payloads)
	if err != nil {
		return items, err
	}
	failed := make(map[int]Failure, len(failures))
	for _, f := range failures {
		if f.Index < 0 || f.Index >= len(items) {
			return items, fmt.Errorf("entry %d of %d is said to have failed: %v", f.Index, len(items), f.Err)
		}
		failed[f.Index] = f
	}
	left := items[:0]
	for n, i := range items {
		f, bad := failed[n]
		switch {
		case !bad || f.Permanent && c.q.bury(i, f.Err):
			continue
		case len(left) == 0:
			err = f.Err
		}
		left = append(left, i)
	}
	c.q.countDelivered(len(items) - len(failed))
	if len(left) < len(items) {
		c.backoff = backoffMin
	}
	if len(left) == 0 && c.failing > 0 {
		c.q.logger.Info(ctx, "records are delivered again", slog.F("failed_tries", c.failing))
		c.failing = 0
	}
	return left, err
}

// pause waits before the next try. Only the first failure in a row is logged.
func (c *consumer) pause(ctx context.Context, cause error) {
	if c.failing++; c.failing == 1 && ctx.Err() == nil {
		c.q.logger.Warn(ctx, "records cannot be delivered, trying again", slog.Error(cause))
	}
	wait := c.backoff/2 + rand.N(c.backoff/2)
	c.backoff = min(2*c.backoff, backoffMax)
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

// waitingSince notes when the oldest entry was appended, or since when it may have been waiting.
func (q *Queue) waitingSince(at int64) {
	q.mu.Lock()
	q.oldest = at
	q.mu.Unlock()
}

func (q *Queue) countDelivered(entries int) {
	q.mu.Lock()
	q.stats.Delivered += int64(entries)
	q.mu.Unlock()
}

// advance notes that everything before a place has been delivered or set aside.
func (q *Queue) advance(to place) {
	now := q.now()
	if q.cursor != nil {
		q.mu.Lock()
		at := q.markOf(q.beforeGraves(to))
		q.mu.Unlock()
		if err := q.cursor.write(at); err != nil {
			q.complain("outbox cursor cannot be written: a restart delivers some records again", err)
		}
	}
	q.mu.Lock()
	q.read = to
	q.noteFill(now)
	q.recent.dropBefore(to.position)
	empty := to.entry == q.end.entry
	if empty && q.emptied != nil {
		close(q.emptied)
		q.emptied = nil
	}
	full := empty && q.full
	q.mu.Unlock()
	if full {
		q.appending.Lock()
		q.makeRoom()
		q.appending.Unlock()
	}
	q.reclaim()
}
