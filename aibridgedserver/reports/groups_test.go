package reports_test

import (
	"slices"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/recordgen"
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

// What a group has done is listed, and so is what users did while they belonged to none: as many as the sums of the groups say, the
// latest first and once each, in groups with few users and with many.
func TestInterceptionsOfGroups(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	names := []string{"ada", "bob", "cyd", "dan"}
	var users []string
	for _, name := range names {
		users = append(users, h.user(t, name))
	}
	begin := noon.Add(-20 * 24 * time.Hour)
	set := func(user string, day int, groups ...string) {
		if err := h.server.SetUserGroups(t.Context(), user, groups, begin.AddDate(0, 0, day)); err != nil {
			t.Fatal(err)
		}
	}
	set("ada", -100, "red")
	set("ada", 8, "blue")
	set("ada", 14, "red", "green")
	set("bob", 3, "red")
	set("bob", 11)
	for hour := range 2 * reports.MostMerged { // Again and again.
		if err := h.server.SetUserGroups(t.Context(), "cyd", []string{"many", "red"}[:1+hour%2], begin.Add(time.Duration(4*hour)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	h.fill(t, recordgen.Options{Interceptions: 900, Users: users, From: begin, To: noon, Seed: 5})
	edge := begin.AddDate(0, 0, 8) // When ada goes from red to blue.
	h.store(t, shot{user: users[0], at: edge}.records()...)
	h.store(t, shot{user: users[0], at: edge.Add(-time.Microsecond)}.records()...)
	h.digest(t)
	q := reports.Query{Range: reports.Range{From: begin, To: noon.Add(24 * time.Hour)}}
	sums := h.rows(t, q, "group")
	all := h.interceptionPages(t, reports.InterceptionFilter{Range: q.Range, Limit: 200})
	memberships, err := h.server.Memberships(t.Context())
	if err != nil || len(memberships) <= reports.MostMerged || len(sums) != 5 {
		t.Fatal(len(memberships), sums, err)
	}
	for group := range sums {
		for name, f := range map[string]reports.InterceptionFilter{
			"": {}, " with a model": {Model: "gpt-5.4"}, " of a user": {UserID: users[0]}, " of a range": {Range: reports.Range{From: edge, To: edge.Add(50 * time.Hour)}},
		} {
			var want, got []string
			if f.Range == (reports.Range{}) {
				f.Range = q.Range
			}
			for _, i := range all {
				if (f.Model == "" || i.Model == f.Model) && (f.UserID == "" || i.UserID == f.UserID) && !i.StartedAt.Before(f.Range.From) && i.StartedAt.Before(f.Range.To) &&
					slices.Contains(groupsAt(memberships, i.UserID, i.StartedAt), group) {
					want = append(want, i.ID)
				}
			}
			f.Group, f.Ungrouped, f.Limit = group, group == reports.NoGroup, 7
			for _, i := range h.interceptionPages(t, f) {
				got = append(got, i.ID)
			}
			if !slices.Equal(got, want) || name == "" && int64(len(got)) != sums[group].Requests || len(got) == 0 && name == "" {
				t.Errorf("%q%s: %d interceptions, want %d of %d", group, name, len(got), len(want), sums[group].Requests)
			}
		}
	}
	for _, f := range []reports.InterceptionFilter{{Group: "nobody"}, {Group: "red", Ungrouped: true}} {
		f.Range = q.Range
		if found := h.interceptionPages(t, f); len(found) != 0 {
			t.Errorf("%+v finds %d", f, len(found))
		}
	}
	ada := reports.Viewer{UserID: users[0]}
	page, err := h.Interceptions(t.Context(), ada, reports.InterceptionFilter{Range: q.Range, Group: "red", Limit: 200})
	if err != nil || len(page.Interceptions) == 0 || slices.ContainsFunc(page.Interceptions, func(i reports.InterceptionRow) bool { return i.UserID != ada.UserID }) {
		t.Errorf("ada sees what others did, or nothing of her own: %d, %v", len(page.Interceptions), err)
	}
}

// groupsAt returns the groups of a user at an instant; of who has none, the name of no group.
func groupsAt(memberships []aibridgedserver.Membership, user string, at time.Time) (groups []string) {
	for _, m := range memberships {
		if m.UserID == user && !at.Before(m.From) && (m.Until == nil || at.Before(*m.Until)) {
			groups = append(groups, m.Group)
		}
	}
	if len(groups) == 0 {
		return []string{reports.NoGroup}
	}
	return groups
}
