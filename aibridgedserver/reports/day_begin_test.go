package reports_test

import (
	"slices"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// Each day begins once, at its first instant, wherever the clocks change at midnight, in either direction, or skip a day.
func TestDays(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		zone string
		year int
		want []string // Beginnings of days that are not at the midnight before which a minute was another day for the only time.
	}{
		{"America/Santiago", 2026, []string{"2026-09-06T01:00:00-03:00"}},
		{"America/Havana", 2026, []string{"2026-03-08T01:00:00-04:00"}},
		{"Africa/Cairo", 2026, []string{"2026-04-24T01:00:00+03:00"}},
		{"Asia/Beirut", 2026, []string{"2026-03-29T01:00:00+03:00"}},
		{"America/Asuncion", 2022, []string{"2022-10-02T01:00:00-03:00"}},
		{"Pacific/Apia", 2011, nil},
		{"Australia/Lord_Howe", 2026, nil},
		{"Europe/Berlin", 2026, nil},
	} {
		zone, err := time.LoadLocation(test.zone)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Date(test.year, 1, 1, 0, 0, 0, 0, zone)
		days := reports.Range{From: begin, To: time.Date(test.year+1, 1, 1, 0, 0, 0, 0, zone)}.Days(zone)
		seen := map[string]bool{}
		var odd []string
		for i, at := range days[:len(days)-1] {
			name := at.Format(time.DateOnly)
			if seen[name] {
				t.Errorf("%s: %s stands twice", test.zone, name)
			}
			seen[name] = true
			if at.Hour() != 0 || at.Minute() != 0 {
				odd = append(odd, at.Format(time.RFC3339))
			}
			if before := at.Add(-time.Minute); before.Format(time.DateOnly) == name {
				t.Errorf("%s: %v is within a day", test.zone, at)
			}
			if end := days[i+1].Add(-time.Minute); end.Format(time.DateOnly) != name {
				t.Errorf("%s: the day of %v ends at %v", test.zone, at, end)
			}
		}
		if !slices.Equal(odd, test.want) {
			t.Errorf("%s: %v, want %v", test.zone, odd, test.want)
		}
	}
	havana, err := time.LoadLocation("America/Havana")
	if err != nil {
		t.Fatal(err)
	}
	if at := reports.DayBegin(2026, 11, 1, havana); at.Format(time.RFC3339) != "2026-11-01T00:00:00-04:00" { // It has two midnights.
		t.Errorf("%v", at)
	}
	if at := reports.DayBegin(2026, 2, 31, time.UTC); at.Format(time.DateOnly) != "2026-03-03" {
		t.Errorf("%v", at)
	}
}
