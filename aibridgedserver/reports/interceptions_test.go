package reports_test

import (
	"slices"
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
