package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// errClosed is the error for records that come after Close.
var errClosed = errors.New("control plane is closed")

// writer stores records. Each call is a transaction, and calls wait for each other where the database's writer runs one
// transaction at a time. The writer does not retry what the database cannot store now: its callers keep such
// records and send them again.
type writer struct {
	db Database
	// Where the database has no Insert of its own.
	prepared [insertions][rowCounts]*sql.Stmt
	widths   [insertions]int
	touch    *sql.Stmt // insertTouched.

	mu      sync.Mutex
	closed  bool           // Guarded by mu.
	storing sync.WaitGroup // Calls under way. None begins once closed is set.
}

func newWriter(ctx context.Context, db Database) (*writer, error) {
	w := &writer{db: db}
	if db.Insert != nil {
		return w, nil
	}
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
	var err error
	if w.touch, err = db.Writer.PrepareContext(ctx, insertTouched); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare note of what is stored: %w", err), w.release())
	}
	return w, nil
}

// begin counts a call as under way, so that close waits for it. At its end the caller calls w.storing.Done.
func (w *writer) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errClosed
	}
	w.storing.Add(1)
	return nil
}

// store stores those records that can be stored, in one transaction if that is all of them, and sets the failure of the
// others. It returns how many had been stored before. It returns an error if ctx ends first or the writer is closed;
// the caller then does not know which records are stored.
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

// close refuses further calls and waits for those under way.
func (w *writer) close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.storing.Wait()
	return w.release()
}

func (w *writer) release() error {
	var err error
	if w.touch != nil {
		err = w.touch.Close()
	}
	for _, sizes := range w.prepared {
		for _, prepared := range sizes {
			if prepared != nil {
				err = errors.Join(err, prepared.Close())
			}
		}
	}
	return err
}

// split stores records in one transaction, and returns how many had been stored before. If one of them can never be
// stored, it tries each half in a transaction of its own, and so on, until that record stands alone and the others are
// stored.
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
	err = inTurn(ctx, w.db, func(ctx context.Context, tx *sql.Tx) error {
		b := newBatch(records)
		duplicates, err = b.store(func(into insertion, values []any) (int64, error) {
			return w.insert(ctx, tx, into, values)
		})
		if err != nil || duplicates == len(records) {
			return err
		}
		return w.note(ctx, tx, b.touched)
	})
	return duplicates, err
}

// note notes interceptions whose records are stored.
func (w *writer) note(ctx context.Context, tx *sql.Tx, ids []byte) (err error) {
	if w.touch != nil {
		_, err = tx.StmtContext(ctx, w.touch).ExecContext(ctx, ids)
	} else {
		_, err = tx.ExecContext(ctx, insertTouched, ids)
	}
	return err
}

// insert inserts rows. It returns how many, without those that already existed.
func (w *writer) insert(ctx context.Context, tx *sql.Tx, into insertion, values []any) (inserted int64, err error) {
	if w.db.Insert != nil {
		return w.db.Insert(ctx, tx, into.texts(), values)
	}
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
