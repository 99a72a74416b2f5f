package reports_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/recordgen"
)

// What the overview of a user says of each value and day is what the user's interceptions add up to, in any zone, for whole days and
// for parts of them, also after some of them have changed.
func TestOverviewOfOneUser(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	users := []string{h.user(t, "ada"), h.user(t, "bob")}
	h.fill(t, recordgen.Options{Interceptions: 900, Users: users, From: noon.Add(-10 * 24 * time.Hour), To: noon, Seed: 12})
	h.digest(t)
	running := shot{user: users[0], at: noon.Add(-time.Hour), session: "s", running: true, calls: []string{"call_1"}}
	running.id = newID()
	h.store(t, running.records()...)
	running.running = false
	records := running.records()
	h.store(t, records[len(records)-1]) // Its end: it was counted as running until now.
	utc, kathmandu := time.UTC, time.FixedZone("+05:45", 5*3600+45*60)
	midnight := noon.Add(-12 * time.Hour)
	for name, q := range map[string]reports.Query{
		"whole days of UTC": {Range: reports.Range{From: midnight.AddDate(0, 0, -8), To: midnight}, Zone: utc},
		"parts of days":     {Range: reports.Range{From: noon.Add(-7*24*time.Hour - 45*time.Minute), To: noon.Add(-15 * time.Minute)}, Zone: kathmandu},
		"less than a day":   {Range: reports.Range{From: noon.Add(-20*time.Hour - 15*time.Minute), To: noon.Add(-30 * time.Minute)}, Zone: kathmandu},
	} {
		for _, user := range users {
			for _, by := range []reports.Dimension{reports.ByModel, reports.ByClient, reports.ByProvider, reports.ByUser} {
				q.UserID = user
				o, err := h.Overview(t.Context(), reports.Operator(), q, by)
				if err != nil {
					t.Fatal(err)
				}
				want := h.addedUp(t, q, by)
				got := map[string]reports.Figures{"total ": o.Total}
				for of, rows := range map[string][]reports.Row{"model ": o.Models, "client ": o.Clients, "provider ": o.Providers, "outcome ": o.Outcomes} {
					for _, row := range rows {
						got[of+row.Value] = row.Figures
					}
				}
				for _, row := range o.Tools {
					got["tool "+row.Value] = reports.Figures{Requests: row.Requests, ToolCalls: row.ToolCalls}
				}
				for _, day := range o.Days {
					got["day "+day.Begin.Format(time.RFC3339)] = day.Total
					for value, f := range day.By {
						got["day "+day.Begin.Format(time.RFC3339)+" "+value] = f
					}
				}
				for _, key := range slices.Sorted(maps.Keys(got)) {
					if g, w := figuresText(got[key]), figuresText(want[key]); g != w {
						t.Errorf("%s, %s, by %d: %s\ngot  %s\nwant %s", name, user, by, key, g, w)
					}
				}
				if len(o.Models) == 0 || len(got) < 8 {
					t.Errorf("%s: only %d figures", name, len(got))
				}
			}
		}
	}
	var empty int
	if err := h.db.Reader.QueryRowContext(t.Context(), `SELECT count(*) FROM user_rollups WHERE requests <= 0`).Scan(&empty); err != nil || empty != 0 {
		t.Errorf("%d sums of nothing are kept, %v", empty, err)
	}
}

// addedUp adds up the interceptions of a query, for a total, each value and each day.
func (h house) addedUp(t *testing.T, q reports.Query, by reports.Dimension) map[string]reports.Figures {
	t.Helper()
	sums := map[string]reports.Figures{}
	add := func(key string, f reports.Figures) {
		sum := sums[key]
		sum.Add(f)
		sums[key] = sum
	}
	days := q.Days(q.Zone)
	filter := reports.InterceptionFilter{Range: q.Range, UserID: q.UserID, Limit: 200}
	for {
		page, err := h.Interceptions(t.Context(), reports.Operator(), filter)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Interceptions {
			add("total ", row.Figures)
			add("model "+row.Model, row.Figures)
			add("client "+row.Client, row.Figures)
			add("provider "+row.Provider, row.Figures)
			add("outcome "+row.Outcome, row.Figures)
			for tool, calls := range row.Tools {
				add("tool "+tool, reports.Figures{Requests: 1, ToolCalls: calls})
			}
			n := 0
			for n+1 < len(days)-1 && !row.StartedAt.Before(days[n+1]) {
				n++
			}
			day := "day " + days[n].Format(time.RFC3339)
			add(day, row.Figures)
			add(day+" "+map[reports.Dimension]string{
				reports.ByModel: row.Model, reports.ByClient: row.Client, reports.ByProvider: row.Provider, reports.ByUser: row.UserID,
			}[by], row.Figures)
		}
		if filter.After = page.Next; filter.After == "" {
			return sums
		}
	}
}

// figuresText writes figures without the times to the first byte, which lists have exactly.
func figuresText(f reports.Figures) string {
	return fmt.Sprint(f.Requests, f.Errors, f.Input, f.Output, f.CacheRead, f.CacheWrite, f.USD, f.Estimated, f.Unpriced, f.UnpricedTokens, f.ToolCalls)
}

// The migration that brings the sums of users fills them as deriving does.
func TestSumsOfUsersAreMigrated(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	users := []string{h.user(t, "ada"), h.user(t, "bob")}
	h.fill(t, recordgen.Options{Interceptions: 900, Users: users, From: noon.Add(-10 * 24 * time.Hour), To: noon, Seed: 13})
	h.digest(t)
	want := h.sumsOfUsers(t)
	text, err := os.ReadFile(filepath.Join("..", engine.Text("sqlite", "postgres"), "migrations", "00014_sums_of_users.sql"))
	if err != nil {
		t.Fatal(err)
	}
	statements := []string{`DELETE FROM user_rollups`}
	for statement := range strings.SplitSeq(string(text), ";\n") {
		if statement = strings.TrimSpace(statement); strings.HasPrefix(statement, "INSERT INTO user_rollups") {
			statements = append(statements, statement)
		}
	}
	for _, statement := range statements {
		if _, err := h.db.Writer.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%v\n%s", err, statement)
		}
	}
	if got := h.sumsOfUsers(t); len(statements) != 4 || len(want) < 100 || !slices.Equal(got, want) {
		t.Errorf("%d statements leave %d sums, want %d", len(statements), len(got), len(want))
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("%s\nwant %s", got[i], want[i])
			}
		}
	}
}

func (h house) sumsOfUsers(t *testing.T) (sums []string) {
	t.Helper()
	rows, err := h.db.Reader.QueryContext(t.Context(), `SELECT * FROM user_rollups`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, targets := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		sums = append(sums, fmt.Sprint(values...))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(sums)
	return sums
}
