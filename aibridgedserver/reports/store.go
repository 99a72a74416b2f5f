package reports

import (
	"context"
	"database/sql"
	"strings"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver"
)

// sessionColumns returns the columns of sessions.
func sessionColumns() string {
	return `id, initiator_id, client, client_session_id, started_at, last_at, title, title_from, title_at, searchable, kept, ` +
		columnList(sessionWide, "")
}

func factsColumns() string { return factsHead + columnList(sessionWide, "") + ", first_byte" }

// into returns the insertion of rows into a table. What exists is told as behind ON CONFLICT.
func into(table, columns, exists string) aibridgedserver.Insertion {
	return aibridgedserver.Insertion{Table: table, Columns: columns, Exists: exists}
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

// added returns the assignments that add the new values to the sums of a table. A sum of amounts stops at the largest that a column holds:
// whatever upstreams claim, the next step goes on.
func added(table string) string {
	var assignments []string
	for i, column := range columnNames() {
		old, more := table+"."+column, "excluded."+column
		sum := old + " + " + more
		if i == cost || i == estimated {
			const most = "9000000000000000000"
			sum = "CASE WHEN " + more + " > 0 AND " + old + " > " + most + " - " + more + " THEN " + most + " ELSE " + sum + " END"
		}
		assignments = append(assignments, column+" = "+sum)
	}
	return strings.Join(assignments, ", ")
}

func storeFacts(ctx context.Context, db aibridgedserver.Database, tx *sql.Tx, changed, gone []*facts) error {
	var rows []any
	for _, f := range changed {
		values, err := f.values()
		if err != nil {
			return err
		}
		rows = append(rows, values...)
	}
	_, err := db.InsertRows(ctx, tx, into("facts", factsColumns(), "(interception_id) DO UPDATE SET "+excluded(factsColumns())), rows)
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
	return removeSearchables(ctx, db.Search, tx, prompts)
}

func (d *derivation) storeSessions(ctx context.Context, db aibridgedserver.Database, tx *sql.Tx) error {
	var sessions, keys, values []any
	for _, s := range d.sessions {
		if s.kept > 0 {
			sessions = append(sessions, s.values()...)
		}
	}
	for key, id := range d.newKeys {
		keys = append(keys, key[:], id)
	}
	for v, at := range d.values {
		values = append(values, v.session, int64(v.kind), v.value, at)
	}
	_, err := db.InsertRows(ctx, tx, into("sessions", sessionColumns(), "(id) DO UPDATE SET "+excluded(sessionColumns())), sessions)
	if err == nil {
		_, err = db.InsertRows(ctx, tx, into("session_keys", "key, session", "(key) DO UPDATE SET session = excluded.session"), keys)
	}
	if err == nil {
		_, err = db.InsertRows(ctx, tx, into("session_values", "session, kind, value, started_at", "(session, kind, value) DO NOTHING"), values)
	}
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

func storeSums(ctx context.Context, db aibridgedserver.Database, tx *sql.Tx, sums map[place]*tally) error {
	var rows []any
	for at, sum := range sums {
		if *sum == (tally{}) {
			continue
		}
		rows = append(rows, int64(at.dimension), int64(at.span), at.at, at.value)
		for _, n := range sum {
			rows = append(rows, n)
		}
	}
	const head = "dimension, span, at, value, "
	_, err := db.InsertRows(ctx, tx, into("rollups", head+columnList(columns, ""), "(dimension, span, value, at) DO UPDATE SET "+added("rollups")), rows)
	return err
}

func storeUserSums(ctx context.Context, db aibridgedserver.Database, tx *sql.Tx, sums map[userPlace]*tally) error {
	var rows []any
	var less []userPlace
	for at, sum := range sums {
		if *sum == (tally{}) {
			continue
		}
		rows = append(rows, at.key()...)
		for _, n := range sum {
			rows = append(rows, n)
		}
		if sum[requests] < 0 {
			less = append(less, at)
		}
	}
	_, err := db.InsertRows(ctx, tx, into("user_rollups", userKey+", "+columnList(columns, ""), "("+userKey+") DO UPDATE SET "+added("user_rollups")), rows)
	for _, at := range less {
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM user_rollups WHERE requests = 0 AND initiator_id = $1 AND part = $2 AND span = $3 AND at = $4
				AND provider = $5 AND model = $6 AND client = $7 AND name = $8`, at.key()...)
		}
	}
	return err
}
