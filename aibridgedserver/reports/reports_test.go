package reports_test

import (
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/recordgen"
)

// However a range is split, the parts add up to the whole.
func TestPartsAddUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	users := []string{h.user(t, "ada"), h.user(t, "bob"), h.user(t, "eve")}
	h.fill(t, recordgen.Options{Interceptions: 1500, Users: users, From: noon.Add(-10 * 24 * time.Hour), To: noon, Seed: 7})
	h.digest(t)
	query := reports.Query{Range: reports.Range{From: noon.Add(-20 * 24 * time.Hour), To: noon.Add(24 * time.Hour)}}
	whole, err := h.Overview(t.Context(), reports.Operator(), query, reports.ByModel)
	if err != nil {
		t.Fatal(err)
	}
	if whole.Total.Requests != 1500 || !whole.Total.USD.IsPositive() || whole.Total.FirstByte < 500 || whole.Total.FirstByte > 2000 {
		t.Errorf("total %+v", whole.Total)
	}
	var others int64
	for _, day := range whole.Days {
		sum := day.Others
		others += sum.Requests
		for _, f := range day.By {
			sum.Add(f)
		}
		if !sum.USD.Equal(day.Total.USD) || sum.Requests != day.Total.Requests || sum.CacheRead != day.Total.CacheRead {
			t.Errorf("%v: parts of %+v\nwant %+v", day.Begin, sum, day.Total)
		}
	}
	if len(whole.Values) != 8 || others == 0 {
		t.Errorf("%d values, %d requests of others", len(whole.Values), others)
	}
	for _, by := range reports.Breakdowns() {
		found, err := h.Breakdown(t.Context(), reports.Operator(), query, by)
		if err != nil {
			t.Fatal(err)
		}
		var sum reports.Figures
		for _, row := range found.Rows {
			sum.Add(row.Figures)
		}
		if by == "tool" {
			if sum.ToolCalls != whole.Total.ToolCalls {
				t.Errorf("tools: %d calls, want %d", sum.ToolCalls, whole.Total.ToolCalls)
			}
			continue
		}
		if sum.Requests != 1500 || !sum.USD.Equal(whole.Total.USD) || sum.Output != whole.Total.Output || sum.Unpriced != whole.Total.Unpriced {
			t.Errorf("by %s: %+v\nwant %+v", by, sum, whole.Total)
		}
	}
	var sum reports.Figures
	for _, user := range users {
		query.UserID = user
		one, err := h.Overview(t.Context(), reports.Operator(), query, reports.ByModel)
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(one.Total)
	}
	if !sum.USD.Equal(whole.Total.USD) || sum.Requests != 1500 {
		t.Errorf("users %+v\nwant %+v", sum, whole.Total)
	}
}
