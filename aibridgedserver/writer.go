package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// queuedCalls bounds the calls that wait for the writer; further ones wait to be let into the queue.
	queuedCalls = 256
	// groupRecords is how many records a transaction takes before it takes no further call.
	groupRecords = 1000
	// A busy database is tried again after a pause that doubles from the first to the longest, for as long as a
	// caller waits and at most for the limit.
	firstPause   = 5 * time.Millisecond
	longestPause = 500 * time.Millisecond
	busyLimit    = 30 * time.Second
)

// errClosed is what records get that come after Close.
var errClosed = errors.New("control plane is closed")

// writer stores records. Calls hand theirs in and wait; one goroutine takes all that wait and stores them in one
// transaction. So a call alone is stored at once, and the more calls there are, the less each of them costs.
type writer struct {
	db       Database
	prepared [statements]*sql.Stmt

	queue   chan *call
	closing chan struct{} // Closed by close.
	stopped chan struct{} // Closed by run when it has ended.
	once    sync.Once
}

// call is what one RPC hands in. Its records are the writer's until done is closed.
type call struct {
	ctx     context.Context
	records []*record
	done    chan struct{}
}

func newWriter(ctx context.Context, db Database) (*writer, error) {
	w := &writer{
		db:      db,
		queue:   make(chan *call, queuedCalls),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	for s := range statements {
		prepared, err := db.Writer.PrepareContext(ctx, s.text())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("prepare statement %d: %w", s, err), w.release())
		}
		w.prepared[s] = prepared
	}
	go w.run()
	return w, nil
}

// store hands in records and returns once each of them is stored or has its failure set. It returns an error where
// ctx or the writer ends first: then some may be stored all the same, and none of them may be looked at.
func (w *writer) store(ctx context.Context, records []*record) error {
	c := &call{ctx: ctx, records: records, done: make(chan struct{})}
	select {
	case w.queue <- c:
	case <-w.closing:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.stopped:
	}
	// The writer may have stored the call with its last group, or have ended before the call was in the queue.
	select {
	case <-c.done:
		return nil
	default:
		return errClosed
	}
}

// close stores what is queued, ends the goroutine and waits for it.
func (w *writer) close() error {
	w.once.Do(func() { close(w.closing) })
	<-w.stopped
	return w.release()
}

func (w *writer) release() error {
	var err error
	for _, prepared := range w.prepared {
		if prepared != nil {
			err = errors.Join(err, prepared.Close())
		}
	}
	return err
}

// run stores one group of calls after the other until the writer is closed and its queue is empty.
func (w *writer) run() {
	defer close(w.stopped)
	for {
		select {
		case first := <-w.queue:
			w.commit(w.gather(first))
		case <-w.closing:
			select {
			case first := <-w.queue:
				w.commit(w.gather(first))
			default:
				return
			}
		}
	}
}

// gather returns first and the calls that wait behind it, as many as a transaction takes.
func (w *writer) gather(first *call) []*call {
	calls := []*call{first}
	for records := len(first.records); records < groupRecords; {
		select {
		case next := <-w.queue:
			calls = append(calls, next)
			records += len(next.records)
		default:
			return calls
		}
	}
	return calls
}

// commit stores the records of calls, less those whose caller has left, and tells the callers.
func (w *writer) commit(calls []*call) {
	var records []*record
	for _, c := range calls {
		if err := context.Cause(c.ctx); err != nil {
			fail(c.records, err, false)
			continue
		}
		records = append(records, c.records...)
	}
	abandoned := func() bool {
		return !slices.ContainsFunc(calls, func(c *call) bool { return c.ctx.Err() == nil })
	}
	w.split(records, abandoned)
	for _, c := range calls {
		close(c.done)
	}
}

func fail(records []*record, err error, permanent bool) {
	for _, r := range records {
		r.failure, r.permanent = err, permanent
	}
}

// split stores records in one transaction. Where one of them cannot be stored, it halves them until that one stands
// alone, so that the others are stored all the same.
func (w *writer) split(records []*record, abandoned func() bool) {
	err := w.patiently(records, abandoned)
	if err == nil {
		return
	}
	permanent := w.db.Fault(err) == FaultRecord
	if half := len(records) / 2; permanent && half > 0 {
		w.split(records[:half], abandoned)
		w.split(records[half:], abandoned)
		return
	}
	fail(records, err, permanent)
}

// patiently stores records in one transaction, as often as it takes while the database is busy.
func (w *writer) patiently(records []*record, abandoned func() bool) error {
	deadline := time.Now().Add(busyLimit)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := w.transact(records)
		if err == nil || w.db.Fault(err) != FaultBusy || abandoned() || time.Now().After(deadline) {
			return err
		}
		<-time.After(pause)
	}
}

// transact stores records in one transaction. It is not bound to the context of a call, which is one of many.
func (w *writer) transact(records []*record) error {
	if len(records) == 0 {
		return nil
	}
	ctx := context.Background()
	return inTx(ctx, w.db.Writer, nil, func(tx *sql.Tx) error {
		var prepared [statements]*sql.Stmt
		for _, r := range records {
			for i, row := range r.rows {
				if prepared[row.into] == nil {
					prepared[row.into] = tx.StmtContext(ctx, w.prepared[row.into])
				}
				stored, err := insert(ctx, prepared[row.into], row)
				if err != nil {
					return fmt.Errorf("store record: %w", err)
				}
				if i == 0 {
					r.duplicate = !stored
				}
			}
		}
		return nil
	})
}

// insert stores a row, and reports whether it was not there already.
func insert(ctx context.Context, statement *sql.Stmt, row row) (stored bool, err error) {
	result, err := statement.ExecContext(ctx, row.values...)
	if err != nil {
		return false, err
	}
	affected, err := result.RowsAffected()
	return affected > 0, err
}
