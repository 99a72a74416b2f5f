package reports

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/google/uuid"
)

// sessionColumns returns the columns of sessions.
func sessionColumns() string {
	return `id, initiator_id, client, client_session_id, started_at, last_at, title, title_from, title_at, searchable, kept, ` +
		columnList(sessionWide, "")
}

func factsColumns() string { return factsHead + columnList(sessionWide, "") + ", first_byte" }

func upsertFacts() string {
	return insertInto("facts", factsColumns()) + ` ON CONFLICT (interception_id) DO UPDATE SET ` + excluded(factsColumns())
}

func upsertSession() string {
	return insertInto("sessions", sessionColumns()) + ` ON CONFLICT (id) DO UPDATE SET ` + excluded(sessionColumns())
}

func upsertSum() string {
	return insertInto("rollups", "dimension, span, at, value, "+columnList(columns, "")) +
		` ON CONFLICT (dimension, span, value, at) DO UPDATE SET ` + added()
}

func insertInto(table, columns string) string {
	var args arguments
	var placeholders []string
	for range strings.Count(columns, ",") + 1 {
		placeholders = append(placeholders, args.add(nil))
	}
	return `INSERT INTO ` + table + ` (` + columns + `) VALUES (` + strings.Join(placeholders, ", ") + `)`
}

// excluded returns the assignments that overwrite columns with the new values.
func excluded(columns string) string {
	var assignments []string
	for column := range strings.SplitSeq(columns, ",") {
		column = strings.TrimSpace(column)
		assignments = append(assignments, column+" = excluded."+column)
	}
	return strings.Join(assignments, ", ")
}

// qualified returns columns with a table before each.
func qualified(columns, table string) string {
	var names []string
	for column := range strings.SplitSeq(columns, ",") {
		names = append(names, table+strings.TrimSpace(column))
	}
	return strings.Join(names, ", ")
}

// added returns the assignments that add the new values to sums. A sum of amounts stops at the largest that a column holds:
// whatever upstreams claim, the next step goes on.
func added() string {
	var assignments []string
	for i, column := range columnNames() {
		old, more := "rollups."+column, "excluded."+column
		sum := old + " + " + more
		if i == cost || i == estimated {
			const most = "9000000000000000000"
			sum = "CASE WHEN " + more + " > 0 AND " + old + " > " + most + " - " + more + " THEN " + most + " ELSE " + sum + " END"
		}
		assignments = append(assignments, column+" = "+sum)
	}
	return strings.Join(assignments, ", ")
}

// prepared executes a statement with the values of each row.
func prepared(ctx context.Context, tx *sql.Tx, text string, rows func(exec func(values ...any) error) error) (err error) {
	statement, err := tx.PrepareContext(ctx, text)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, statement.Close()) }()
	return rows(func(values ...any) error {
		_, err := statement.ExecContext(ctx, values...)
		return err
	})
}

func storeFacts(ctx context.Context, tx *sql.Tx, changed, gone []*facts) error {
	err := prepared(ctx, tx, upsertFacts(), func(exec func(...any) error) error {
		for _, f := range changed {
			values, err := f.values()
			if err == nil {
				err = exec(values...)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	var ids []uuid.UUID
	var prompts []int64
	for _, f := range gone {
		ids = append(ids, f.id)
		if f.searchID != 0 {
			prompts = append(prompts, f.searchID)
		}
	}
	err = byIDs(ids, `DELETE FROM facts WHERE interception_id`, func(q query) error {
		_, err := tx.ExecContext(ctx, q.text, q.args...)
		return err
	})
	if err != nil {
		return err
	}
	return removeSearchables(ctx, tx, prompts)
}

func (d *derivation) storeSessions(ctx context.Context, tx *sql.Tx) error {
	err := prepared(ctx, tx, upsertSession(), func(exec func(...any) error) error {
		for _, s := range d.sessions {
			if s.kept == 0 {
				continue
			}
			from := uuid.NullUUID{UUID: s.titleFrom, Valid: s.titleAt != 0}
			var fromBytes any
			if from.Valid {
				fromBytes = from.UUID[:]
			}
			values := []any{
				s.id, s.initiator[:], s.client, s.clientSession, s.startedAt, s.lastAt, s.title, fromBytes, s.titleAt, s.searchable, s.kept,
			}
			for _, n := range s.sums[:sessionWide] {
				values = append(values, n)
			}
			if err := exec(values...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = prepared(ctx, tx, insertInto("session_keys", "key, session")+` ON CONFLICT (key) DO NOTHING`, func(exec func(...any) error) error {
		for key, id := range d.newKeys {
			if err := exec(key[:], id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = prepared(ctx, tx, insertInto("session_values", "session, kind, value, started_at")+` ON CONFLICT (session, kind, value) DO NOTHING`, func(exec func(...any) error) error {
		for v, at := range d.values {
			if err := exec(v.session, int(v.kind), v.value, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.removeSessions(ctx, tx)
}

// removeSessions deletes the sessions of which no interception is left.
func (d *derivation) removeSessions(ctx context.Context, tx *sql.Tx) error {
	for _, s := range d.sessions {
		if s.kept > 0 || s.isNew {
			continue
		}
		for _, text := range []string{
			`DELETE FROM session_keys WHERE session = $1`, `DELETE FROM session_values WHERE session = $1`, `DELETE FROM sessions WHERE id = $1`,
		} {
			if _, err := tx.ExecContext(ctx, text, s.id); err != nil {
				return err
			}
		}
	}
	return nil
}

func storeSums(ctx context.Context, tx *sql.Tx, sums map[place]*tally) error {
	return prepared(ctx, tx, upsertSum(), func(exec func(...any) error) error {
		for at, sum := range sums {
			if *sum == (tally{}) {
				continue
			}
			values := []any{int(at.dimension), int(at.span), at.at, at.value}
			for _, n := range sum {
				values = append(values, n)
			}
			if err := exec(values...); err != nil {
				return err
			}
		}
		return nil
	})
}
