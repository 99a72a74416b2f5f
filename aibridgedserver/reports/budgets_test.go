package reports_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/recordgen"
)

func budgetPeriod(text string) aibridgedserver.BudgetPeriod {
	return aibridgedserver.BudgetPeriod(text)
}

// dollar is a dollar as costs are kept.
const dollar = 1_000_000_000_000

func (h house) setBudget(tb testing.TB, kind, name, period string, limit int64) {
	tb.Helper()
	b := aibridgedserver.Budget{Kind: aibridgedserver.BudgetKind(kind), Name: name, Period: budgetPeriod(period), Limit: limit}
	if err := h.server.SetBudget(tb.Context(), b); err != nil {
		tb.Fatal(err)
	}
}

func (h house) setGroups(tb testing.TB, user string, from time.Time, groups ...string) {
	tb.Helper()
	if err := h.server.SetUserGroups(tb.Context(), user, groups, from); err != nil {
		tb.Fatal(err)
	}
}

// row returns the row of a budget by its name.
func row(tb testing.TB, rows []reports.BudgetRow, name string) reports.BudgetRow {
	tb.Helper()
	i := slices.IndexFunc(rows, func(b reports.BudgetRow) bool { return b.Name == name })
	if i < 0 {
		tb.Fatalf("no budget of %q in %+v", name, rows)
	}
	return rows[i]
}

// Point 15: what is spent of a budget is what usage tells of the user or the group for the period, in any zone, with what users
// did while they belonged to a group, and also where requests were deleted since. A change of the limit or of the period leaves
// what was spent.
func TestBudgetsAreWhatUsageTells(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada, bob := h.user(t, "ada"), h.user(t, "bob")
	h.setGroups(t, "ada", noon.Add(-9*24*time.Hour), "red", "blue")
	h.setGroups(t, "bob", noon.Add(-5*24*time.Hour), "red")
	h.setGroups(t, "ada", noon.Add(-2*time.Hour), "red")
	h.setGroups(t, "bob", noon.Add(-6*time.Hour), "blue")
	h.fill(t, recordgen.Options{Interceptions: 1500, Users: []string{ada, bob}, From: noon.Add(-24 * 24 * time.Hour), To: noon, Seed: 3})
	h.digest(t)
	if _, err := h.server.Prune(t.Context(), noon.Add(-10*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	h.digest(t)
	for _, zoneName := range []string{"UTC", "Asia/Kathmandu", "Europe/Zurich"} {
		zone, err := time.LoadLocation(zoneName)
		if err != nil {
			t.Fatal(err)
		}
		for _, period := range []string{"day", "week", "month"} {
			h.setBudget(t, "user", "ada", period, dollar)
			h.setBudget(t, "group", "red", period, 3)
			h.setBudget(t, "group", "blue", period, math.MaxInt64/2)
			h.setBudget(t, "group", "nobody's", period, 1)
			rows, err := h.Budgets(t.Context(), reports.Operator(), reports.BudgetQuery{Zone: zone, At: noon})
			if err != nil || len(rows) != 4 {
				t.Fatal(rows, err)
			}
			over := reports.PeriodOf(budgetPeriod(period), noon, zone)
			q := reports.Query{Range: reports.Range{From: over.From, To: noon.Add(15 * time.Minute)}, Zone: zone}
			users, groups := h.rows(t, q, "user"), h.rows(t, q, "group")
			for name, want := range map[string]decimal.Decimal{
				"ada": users["ada"].USD, "red": groups["red"].USD, "blue": groups["blue"].USD, "nobody's": decimal.Zero,
			} {
				got := row(t, rows, name)
				if !got.Spent.Equal(want) || !got.From.Equal(over.From) || !got.To.Equal(over.To) || got.Zone != zoneName || got.Period != budgetPeriod(period) {
					t.Errorf("%s per %s in %s: %+v, want %s", name, period, zoneName, got, want)
				}
				if name != "nobody's" && want.IsZero() {
					t.Errorf("%s per %s in %s: usage tells nothing", name, period, zoneName)
				}
				b := aibridgedserver.Budget{Kind: got.Kind, Subject: got.ID}
				if spent, _, err := h.SpentOf(t.Context(), b, over, nil); err != nil || !decimal.New(spent, -12).Equal(want) {
					t.Errorf("%s: %d, %v", name, spent, err)
				}
			}
		}
	}
	if err := h.server.SetBudgetZone(t.Context(), "Asia/Kathmandu"); err != nil {
		t.Fatal(err)
	}
	rows, err := h.Budgets(t.Context(), reports.Operator(), reports.BudgetQuery{At: noon})
	if err != nil || len(rows) == 0 || rows[0].Zone != "Asia/Kathmandu" || rows[0].From.Format("15:04 -07:00") != "00:00 +05:45" {
		t.Errorf("without a zone: %+v, %v", rows, err)
	}
	h.setBudget(t, "user", "ada", "month", 50*dollar)
	before, err := h.Budgets(t.Context(), reports.Operator(), reports.BudgetQuery{At: noon})
	if err != nil {
		t.Fatal(err)
	}
	h.setBudget(t, "user", "ada", "month", 70*dollar)
	after, err := h.Budgets(t.Context(), reports.Operator(), reports.BudgetQuery{At: noon})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := row(t, before, "ada"), row(t, after, "ada"); !a.Spent.Equal(b.Spent) || !b.Limit.Equal(decimal.NewFromInt(70)) || a.Share <= b.Share || a.Spent.IsZero() {
		t.Errorf("before %+v, after %+v", a, b)
	}
}

// What is counted of an interception is as of the same moment as what was spent: nothing before its facts are derived, what is
// known by then while it runs, and all of it once it has ended.
func TestCountedWithSpent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.user(t, "ada")
	over := reports.PeriodOf("month", noon, time.UTC)
	b := aibridgedserver.Budget{Kind: "user", Subject: ada}
	one, other := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	look := func(wantCosts int, want map[uuid.UUID]bool) {
		t.Helper()
		spent, counted, err := h.SpentOf(t.Context(), b, over, []uuid.UUID{one, other, uuid.New()})
		if err != nil || len(counted) != len(want) {
			t.Fatal(counted, err)
		}
		var sum int64
		for id, over := range want {
			if counted[id].Over != over {
				t.Errorf("%+v", counted[id])
			}
			sum += counted[id].Cost
		}
		if sum != spent || wantCosts > 0 != (spent > 0) {
			t.Errorf("spent is %d, the interceptions cost %d", spent, sum)
		}
	}
	look(0, nil)
	records := shot{id: one.String(), user: ada}.records()
	h.store(t, records[:1]...)
	look(0, map[uuid.UUID]bool{one: false})
	h.store(t, records[1:2]...)
	look(1, map[uuid.UUID]bool{one: false})
	h.store(t, records[2:]...)
	look(1, map[uuid.UUID]bool{one: true})
	h.store(t, shot{id: other.String(), user: ada}.records()...)
	look(2, map[uuid.UUID]bool{one: true, other: true})
}

// Users belong to groups at an instant.
func TestGroupsOf(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.user(t, "ada")
	h.setGroups(t, "ada", noon, "red", "blue")
	h.setGroups(t, "ada", noon.Add(time.Hour), "blue")
	for at, want := range map[time.Time]string{
		noon.Add(-1): "[]", noon: "[blue red]", noon.Add(time.Hour - 1): "[blue red]", noon.Add(time.Hour): "[blue]", noon.Add(1000 * time.Hour): "[blue]",
	} {
		if got, err := h.GroupsOf(t.Context(), ada, at); err != nil || fmt.Sprint(got) != want {
			t.Errorf("at %s: %v, %v, want %s", at, got, err, want)
		}
	}
	if got, err := h.GroupsOf(t.Context(), "nobody", noon); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
}

// Point 16: one's own usage. A user is told of the own budget and of those of the own groups, an administrator of all. Another's
// is not found.
func TestWhoSeesBudgets(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada, bob := h.user(t, "ada"), h.user(t, "bob")
	h.setGroups(t, "ada", noon, "red")
	for _, name := range []string{"red", "blue"} {
		h.setBudget(t, "group", name, "day", 1)
	}
	h.setBudget(t, "user", "ada", "day", 1)
	h.setBudget(t, "user", "bob", "day", 1)
	at := noon.Add(time.Hour)
	for name, c := range map[string]struct {
		viewer reports.Viewer
		user   string
		want   string
	}{
		"operator":          {reports.Operator(), "", "ada blue bob red"},
		"operator, of ada":  {reports.Operator(), ada, "ada red"},
		"ada":               {reports.Viewer{UserID: ada}, "", "ada red"},
		"ada, of ada":       {reports.Viewer{UserID: ada}, ada, "ada red"},
		"ada, of bob":       {reports.Viewer{UserID: ada}, bob, "not found"},
		"bob":               {reports.Viewer{UserID: bob}, "", "bob"},
		"nobody":            {reports.Viewer{}, "", "not found"},
		"admin, of nobody":  {reports.Viewer{UserID: bob, Admin: true}, "x", ""},
		"admin who is user": {reports.Viewer{UserID: bob, Admin: true}, "", "ada blue bob red"},
	} {
		rows, err := h.Budgets(t.Context(), c.viewer, reports.BudgetQuery{UserID: c.user, At: at})
		var names []string
		for _, b := range rows {
			names = append(names, b.Name)
		}
		slices.Sort(names)
		got := strings.Join(names, " ")
		if errors.Is(err, reports.ErrNotFound) {
			got = "not found"
		} else if err != nil {
			t.Error(err)
		}
		if got != c.want {
			t.Errorf("%s sees %q, want %q", name, got, c.want)
		}
	}
}

// Point 17: names are cells that no spreadsheet computes.
func TestBudgetCells(t *testing.T) {
	t.Parallel()
	b := reports.BudgetRow{Kind: "group", Name: "=1+1\x1b[31m", ID: "@x", Limit: decimal.NewFromInt(2), Spent: decimal.NewFromInt(1), Share: 0.5}
	cells := b.Cells()
	if len(cells) != len(reports.BudgetColumns()) || cells[1] != "'=1+1\ufffd[31m" || cells[2] != "'@x" || cells[6] != "0.5000" {
		t.Errorf("%q", cells)
	}
}
