package aibridgedserver

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"
)

const (
	// pruneHold is how long one transaction of Prune should keep others from writing. The commit is not counted: the
	// disk decides how long it takes, however little is deleted.
	pruneHold = 10 * time.Millisecond
	// leastPruned and mostPruned bound the rows that a transaction deletes.
	leastPruned = 64
	mostPruned  = 1024
)

// childTables returns the tables of the records that belong to interceptions.
func childTables() [4]string {
	return [...]string{"prompt_usages", "token_usages", "tool_usages", "model_thoughts"}
}

// Prune deletes the interceptions that started before a time, with all that belongs to them, and returns how many. It
// also deletes records from before that time whose interception has no start. Such records remain when one arrives
// after its interception was deleted.
//
// What the engine can drop as a whole is dropped first. The rest goes in many short transactions. After each Prune pauses
// for as long as the transaction took, so that others can write. If ctx ends or a transaction fails, Prune returns an
// error and the number of interceptions that it has deleted; they stay deleted.
func (s *Server) Prune(ctx context.Context, before time.Time) (deleted int64, err error) {
	return s.PruneWith(ctx, before, func(int64) {})
}

// PruneWith is [Server.Prune] and tells after each transaction how many interceptions are deleted.
func (s *Server) PruneWith(ctx context.Context, before time.Time, progress func(deleted int64)) (deleted int64, err error) {
	if s.db.DropBefore != nil {
		if deleted, err = s.drop(ctx, before); err != nil {
			return deleted, fmt.Errorf("prune interceptions: %w", err)
		}
		progress(deleted)
	}
	p := pruning{server: s, before: before.UnixMicro(), rows: leastPruned}
	for _, started := range []bool{true, false} {
		for done := false; !done; {
			var n int64
			n, done, err = p.step(ctx, started)
			if started {
				deleted += n
				progress(deleted)
			}
			if err == nil && !done {
				err = p.rest(ctx)
			}
			if err != nil {
				return deleted, fmt.Errorf("prune interceptions: %w", err)
			}
		}
	}
	return deleted, nil
}

// drop deletes what the engine can delete at once.
func (s *Server) drop(ctx context.Context, before time.Time) (deleted int64, err error) {
	if err := s.writer.begin(); err != nil {
		return 0, err
	}
	defer s.writer.storing.Done()
	return s.db.DropBefore(ctx, before)
}

// pruning is one call of Prune.
type pruning struct {
	server *Server
	before int64         // In microseconds.
	rows   int           // How many rows the next step may delete.
	took   time.Duration // How long the last step took.
}

const (
	// oldest selects the interceptions that a step deletes. They are fewer than the rows that it may delete, since rows
	// of other tables belong to each.
	oldest = `SELECT id FROM interceptions WHERE started = $1 AND started_at < $2 ORDER BY started_at, id LIMIT $3`
	// deleteOldest runs after all rows that belong to these interceptions are deleted.
	deleteOldest = `DELETE FROM interceptions WHERE id IN (` + oldest + `) RETURNING id`
)

// deleteFromOldest returns the statement that deletes the rows of a table that belong to the oldest interceptions, at
// most $4 of them.
func deleteFromOldest(table string) string {
	return `DELETE FROM ` + table + ` WHERE (interception_id, record_id) IN (SELECT interception_id, record_id FROM ` + table +
		` WHERE interception_id IN (` + oldest + `) LIMIT $4)`
}

// step deletes some rows in one transaction. It returns how many of them are interceptions, and whether none is left to
// delete.
func (p *pruning) step(ctx context.Context, started bool) (deleted int64, done bool, err error) {
	if err := p.server.writer.begin(); err != nil {
		return 0, false, unavailable(err)
	}
	defer p.server.writer.storing.Done()
	most := int64(p.rows+3) / 4
	which := []any{started, p.before, most}
	var began time.Time
	var held time.Duration
	err = inTurn(ctx, p.server.db, func(ctx context.Context, tx *sql.Tx) error {
		began = time.Now() // From here on others cannot write; while this step waited for its turn, they could.
		defer func() { held = time.Since(began) }()
		if hold := p.server.db.Hold; hold != nil {
			if err := hold(ctx, tx); err != nil {
				return err
			}
		}
		room := int64(p.rows)
		for _, table := range childTables() {
			n, err := affected(tx.ExecContext(ctx, deleteFromOldest(table), append(which, room)...))
			if err != nil {
				return err
			}
			if room -= n; room <= 0 {
				return nil // There may be more rows, and an interception is deleted only after all that belongs to it.
			}
		}
		var ids []byte
		err := each(ctx, tx, deleteOldest, which, func(rows *sql.Rows) error {
			var id uuid.UUID
			err := rows.Scan(&id)
			ids = append(ids, id[:]...)
			deleted++
			return err
		})
		done = deleted < most
		if err != nil || !started || deleted == 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, insertTouched, ids)
		return err
	})
	if err != nil {
		return 0, false, err
	}
	p.took = time.Since(began)
	switch {
	case held > pruneHold:
		p.rows = max(p.rows/2, leastPruned)
	case held < pruneHold/2:
		p.rows = min(2*p.rows, mostPruned)
	}
	return deleted, done, nil
}

// rest pauses for as long as the last step took, so that others can write. It returns the cause of ctx's end if ctx
// ends first.
func (p *pruning) rest(ctx context.Context) error {
	select {
	case <-time.After(p.took):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// affected returns how many rows a statement changed.
func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
