package reports_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/recordgen"
)

func (h house) interceptionPages(t *testing.T, f reports.InterceptionFilter) (all []reports.InterceptionRow) {
	t.Helper()
	for {
		page, err := h.Interceptions(t.Context(), reports.Operator(), f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Interceptions...)
		if f.After = page.Next; f.After == "" {
			return all
		}
	}
}

// A list of interceptions pages through all that a filter keeps, the latest first and once each. So each figure leads to what
// is behind it.
func TestInterceptionFilters(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	users := []string{h.user(t, "ada"), h.user(t, "bob")}
	h.fill(t, recordgen.Options{Interceptions: 700, Users: users, From: noon.Add(-4 * 24 * time.Hour), To: noon, Seed: 11})
	h.digest(t)
	whole := reports.Range{From: noon.Add(-5 * 24 * time.Hour), To: noon.Add(24 * time.Hour)}
	all := h.interceptionPages(t, reports.InterceptionFilter{Range: whole, Limit: 200})
	if len(all) != 700 || !slices.IsSortedFunc(all, func(a, b reports.InterceptionRow) int { return b.StartedAt.Compare(a.StartedAt) }) {
		t.Fatalf("%d interceptions", len(all))
	}
	for name, f := range map[string]reports.InterceptionFilter{
		"user": {UserID: users[0]}, "model": {Model: "gpt-5.4"}, "outcome": {Outcome: "client_closed"}, "tool": {Tool: "Grep"},
		"client and outcome": {Client: "Codex", Outcome: "ok"}, "user and provider": {UserID: users[1], Provider: "openai"}, "unpriced": {Unpriced: true}, "nothing": {Model: "gpt-5.4", Client: "Cline"},
		"range": {Range: reports.Range{From: noon.Add(-50 * time.Hour), To: noon.Add(-47 * time.Hour)}, Model: "claude-opus-4-8"},
	} {
		if f.Range == (reports.Range{}) {
			f.Range = whole
		}
		f.Limit = 9
		var want, got []string
		for _, i := range all {
			if (f.UserID == "" || i.UserID == f.UserID) && (f.Model == "" || i.Model == f.Model) && (f.Outcome == "" || i.Outcome == f.Outcome) &&
				(f.Tool == "" || i.Tools[f.Tool] > 0) && (f.Client == "" || i.Client == f.Client) && (f.Provider == "" || i.Provider == f.Provider) &&
				(!f.Unpriced || i.Unpriced > 0) &&
				!i.StartedAt.Before(f.Range.From) && i.StartedAt.Before(f.Range.To) {
				want = append(want, i.ID)
			}
		}
		for _, i := range h.interceptionPages(t, f) {
			got = append(got, i.ID)
		}
		if !slices.Equal(got, want) || (len(want) == 0) != (name == "nothing") {
			t.Errorf("%s: %d interceptions, want %d", name, len(got), len(want))
		}
	}
}

// A list finds its few interceptions among many quarters of an hour with sums of others, or of what was deleted. It reads a
// bounded number of them for a page.
func TestInterceptionsAmongSums(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const quarters = 7000
	at := noon.Add(-time.Hour).Unix() / 900
	for model, every := range map[string]int{"deleted": 1, "odd": 2} {
		sums := fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO rollups
			SELECT %d, 0, %d - i * %d, '%s', 1%s FROM n`, quarters/every, reports.ByModel, at, every, model, strings.Repeat(", 0", 20))
		if _, err := h.db.Writer.ExecContext(t.Context(), sums); err != nil {
			t.Fatal(err)
		}
	}
	old := noon.Add(-quarters * 15 * time.Minute)
	h.store(t, shot{user: h.user(t, "ada"), model: "deleted", at: old}.records()...)
	h.store(t, shot{user: h.user(t, "ada"), model: "odd", at: old, errorType: "timeout"}.records()...)
	whole := reports.Range{From: noon.Add(-100 * 24 * time.Hour), To: noon}
	for name, f := range map[string]reports.InterceptionFilter{"deleted": {Model: "deleted"}, "two values": {Model: "odd", Outcome: "timeout"}} {
		f.Range = whole
		page, err := h.Interceptions(t.Context(), reports.Operator(), f)
		if err != nil {
			t.Fatal(err)
		}
		if more := page.Next != ""; more != (name == "deleted") {
			t.Errorf("%s: there is another page: %t", name, more)
		}
		if all := h.interceptionPages(t, f); len(all) != 1 {
			t.Errorf("%s: %d interceptions", name, len(all))
		}
	}
	if all := h.interceptionPages(t, reports.InterceptionFilter{Range: whole, Model: "deleted", Outcome: "timeout"}); len(all) != 0 {
		t.Errorf("%d interceptions have values that none has", len(all))
	}
}
