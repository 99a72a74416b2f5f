package reports_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// Each report finds its rows by an index. An empty database is enough to show that, since SQLite chooses indexes without
// knowing how many rows there are.
func TestNothingScansATable(t *testing.T) {
	t.Parallel()
	engine.SQLiteOnly(t)
	h := newHouse(t)
	for name, q := range reports.Queries(h.db.Search) {
		rows, err := h.db.Reader.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+q.Text, q.Args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var steps []string
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, step)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(steps, "; ")
		if strings.Contains(plan, "SCAN") && !reports.ReadsInOrder(plan) || strings.Contains(plan, "TEMP B-TREE") && !q.Sorts {
			t.Errorf("%s: %s\n%s", name, plan, q.Text)
		}
	}
}

// The same in PostgreSQL, where small tables are read as a whole unless that is forbidden, and rows of the partitions of
// several months are merged or sorted.
func TestNothingNeedsToScanATable(t *testing.T) {
	t.Parallel()
	if !engine.Postgres() {
		t.Skip("it is about PostgreSQL")
	}
	h := newHouse(t)
	for name, q := range reports.Queries(h.db.Search) {
		tx, err := h.db.Writer.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), `SET LOCAL enable_seqscan = off`); err != nil {
			t.Fatal(err)
		}
		rows, err := tx.QueryContext(t.Context(), `EXPLAIN `+q.Text, q.Args...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, q.Text)
		}
		var steps []string
		for rows.Next() {
			var step string
			if err := rows.Scan(&step); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, step)
		}
		if err := errors.Join(rows.Err(), tx.Rollback()); err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(steps, "\n")
		if scans := strings.Count(plan, "Seq Scan on "); scans > strings.Count(plan, "Seq Scan on providers") {
			t.Errorf("%s:\n%s\n%s", name, plan, q.Text)
		}
	}
}
