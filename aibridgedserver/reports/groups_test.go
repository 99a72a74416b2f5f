package reports_test

import (
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// Costs stay with the groups that their user belonged to when they arose.
func TestGroups(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada, bob := h.user(t, "ada"), h.user(t, "bob")
	zone := time.FixedZone("+05:45", 5*3600+45*60)
	day := func(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, zone) }
	set := func(user string, from time.Time, groups ...string) {
		if err := h.server.SetUserGroups(t.Context(), user, groups, from); err != nil {
			t.Fatal(err)
		}
	}
	set("ada", day(10), "red")
	set("ada", day(20), "blue", "green", "blue")
	set("ada", day(22), "blue")
	for n := 5; n < 25; n++ { // One at the first instant of each day, one at the last.
		h.store(t, shot{user: ada, at: day(n)}.records()...)
		h.store(t, shot{user: ada, at: day(n + 1).Add(-time.Microsecond)}.records()...)
	}
	h.store(t, shot{user: bob, at: day(12)}.records()...)
	check := func(q reports.Query, want map[string]int64) {
		t.Helper()
		got := h.rows(t, q, "group")
		for group, n := range want {
			if got[group].Requests != n {
				t.Errorf("%q has %d, want %d", group, got[group].Requests, n)
			}
		}
		if len(got) != len(want) {
			t.Errorf("groups %v", got)
		}
	}
	all := reports.Query{Range: reports.Range{From: day(1), To: day(28)}}
	check(all, map[string]int64{"red": 20, "blue": 10, "green": 4, reports.NoGroup: 11})
	check(reports.Query{Range: reports.Range{From: day(19), To: day(21)}}, map[string]int64{"red": 2, "blue": 2, "green": 2})
	all.UserID = ada
	check(all, map[string]int64{"red": 20, "blue": 10, "green": 4, reports.NoGroup: 10})

	set("ada", day(15), "red") // As if the groups since then had not been.
	check(all, map[string]int64{"red": 30, reports.NoGroup: 10})
	memberships, err := h.server.Memberships(t.Context())
	if err != nil || len(memberships) != 1 || memberships[0].Group != "red" || !memberships[0].From.Equal(day(10)) || memberships[0].Until != nil {
		t.Errorf("%+v, %v", memberships, err)
	}
	set("ada", day(16))
	check(all, map[string]int64{"red": 12, reports.NoGroup: 28})
	for user, groups := range map[string][]string{"nobody": {"red"}, "ada": {" "}, "bob": {""}} {
		if err := h.server.SetUserGroups(t.Context(), user, groups, day(1)); err == nil {
			t.Errorf("%s may belong to %q", user, groups)
		}
	}
}
