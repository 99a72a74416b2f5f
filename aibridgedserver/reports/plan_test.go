package reports_test

import (
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// Each report finds its rows by an index. An empty database is enough to show that, since the engine chooses indexes without
// knowing how many rows there are.
func TestNothingScansATable(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, q := range reports.Queries() {
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
