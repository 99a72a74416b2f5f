package reports_test

import (
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// Periods begin and end at the first instants of days, also on days of 23 and 25 hours, where midnight is skipped, and in zones
// whose offset is no whole hour. Each follows the one before it.
func TestPeriodOf(t *testing.T) {
	t.Parallel()
	zone := func(name string) *time.Location {
		z, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	zurich, kathmandu, santiago := zone("Europe/Zurich"), zone("Asia/Kathmandu"), zone("America/Santiago")
	for _, c := range []struct {
		period   string
		zone     *time.Location
		at       string
		from, to string // In UTC.
	}{
		{"day", time.UTC, "2026-11-26T23:59:59Z", "2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"},
		{"day", zurich, "2026-03-29T00:30:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"day", zurich, "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"day", kathmandu, "2026-11-26T18:14:59Z", "2026-11-25T18:15:00Z", "2026-11-26T18:15:00Z"},
		{"day", santiago, "2026-09-06T12:00:00Z", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		{"week", zurich, "2026-03-29T12:00:00Z", "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"week", time.UTC, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"},
		{"week", time.UTC, "2027-01-03T23:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"},
		{"month", zurich, "2026-10-31T23:30:00Z", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"},
		{"month", kathmandu, "2028-02-20T00:00:00Z", "2028-01-31T18:15:00Z", "2028-02-29T18:15:00Z"},
		{"month", time.UTC, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		over := reports.PeriodOf(budgetPeriod(c.period), at, c.zone)
		if from, to := over.From.UTC().Format(time.RFC3339), over.To.UTC().Format(time.RFC3339); from != c.from || to != c.to {
			t.Errorf("%s of %s in %s: from %s to %s, want from %s to %s", c.period, c.at, c.zone, from, to, c.from, c.to)
		}
		if over.To.Location() != c.zone {
			t.Errorf("the end is in the zone %s", over.To.Location())
		}
		if next := reports.PeriodOf(budgetPeriod(c.period), over.To, c.zone); !next.From.Equal(over.To) {
			t.Errorf("%s in %s: what ends at %s is followed by what begins at %s", c.period, c.zone, over.To, next.From)
		}
		if last := reports.PeriodOf(budgetPeriod(c.period), over.To.Add(-1), c.zone); last != over {
			t.Errorf("%s in %s: the last instant is in %v, not in %v", c.period, c.zone, last, over)
		}
	}
}
