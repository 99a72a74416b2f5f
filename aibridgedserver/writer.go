package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// errClosed is what records get that come after Close.
var errClosed = errors.New("control plane is closed")

// writer stores records. Each call is a transaction, and calls wait for each other: the database's writer takes one at a
// time. It tries nothing twice, since those who call it keep what is not stored, and try again.
type writer struct {
	db       Database
	prepared [insertions][rowCounts]*sql.Stmt
	widths   [insertions]int

	mu      sync.Mutex
	closed  bool           // Guarded by mu.
	storing sync.WaitGroup // Calls under way; none is added once closed is set.
}

func newWriter(ctx context.Context, db Database) (*writer, error) {
	w := &writer{db: db}
	for into := range insertions {
		w.widths[into] = into.width()
		for i, rows := range rowsPerStatement() {
			prepared, err := db.Writer.PrepareContext(ctx, into.text(rows))
			if err != nil {
				return nil, errors.Join(fmt.Errorf("prepare insertion %d of %d rows: %w", into, rows, err), w.release())
			}
			w.prepared[into][i] = prepared
		}
	}
	return w, nil
}

// begin notes that a call is under way, for which close waits. The caller ends it by calling w.storing.Done.
func (w *writer) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errClosed
	}
	w.storing.Add(1)
	return nil
}

// store stores records in one transaction, as far as they can be, and sets the failure of those that cannot. It returns
// how many had been stored before. It returns an error where ctx ends first or the writer is closed: then nothing is
// known of any of them.
func (w *writer) store(ctx context.Context, records []*record) (duplicates int, err error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	defer w.storing.Done()
	duplicates = w.split(ctx, records)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return duplicates, nil
}

// close waits for the calls under way, and refuses those that come later.
func (w *writer) close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.storing.Wait()
	return w.release()
}

func (w *writer) release() error {
	var err error
	for _, sizes := range w.prepared {
		for _, prepared := range sizes {
			if prepared != nil {
				err = errors.Join(err, prepared.Close())
			}
		}
	}
	return err
}

// split stores records in one transaction, and returns how many had been stored before. Where one of them cannot be
// stored, it halves them until that one stands alone, so that the others are stored all the same.
func (w *writer) split(ctx context.Context, records []*record) (duplicates int) {
	if len(records) == 0 {
		return 0
	}
	duplicates, err := w.transact(ctx, records)
	if err == nil {
		return duplicates
	}
	permanent := w.db.Fault(err) == FaultRecord
	if half := len(records) / 2; permanent && half > 0 {
		return w.split(ctx, records[:half]) + w.split(ctx, records[half:])
	}
	for _, r := range records {
		r.failure, r.permanent = fmt.Errorf("store record: %w", err), permanent
	}
	return 0
}

// transact stores records in one transaction, and returns how many had been stored before.
func (w *writer) transact(ctx context.Context, records []*record) (duplicates int, err error) {
	b := newBatch(records)
	err = inTurn(ctx, w.db.Writer, func(ctx context.Context, tx *sql.Tx) error {
		duplicates, err = b.store(func(into insertion, values []any) (int64, error) {
			return w.insert(ctx, tx, into, values)
		})
		return err
	})
	return duplicates, err
}

// insert inserts rows, and returns how many of them were not there.
func (w *writer) insert(ctx context.Context, tx *sql.Tx, into insertion, values []any) (inserted int64, err error) {
	for i, rows := range rowsPerStatement() {
		size := rows * w.widths[into]
		if len(values) < size {
			continue
		}
		prepared := tx.StmtContext(ctx, w.prepared[into][i])
		for ; len(values) >= size; values = values[size:] {
			n, err := affected(prepared.ExecContext(ctx, values[:size]...))
			if err != nil {
				return 0, err
			}
			inserted += n
		}
	}
	return inserted, nil
}
