package reports_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/recordgen"
	"github.com/coder/aibridged/internal/testkit"
)

var (
	scale   = flag.Int("scale", 0, "how many interceptions the database of TestScale has; 0 skips it")
	scaleDB = flag.String("scale-db", "", "file of the database of TestScale, which stays, or its address with -postgres; it is filled if it is empty")
)

// TestScale fills a database with as many interceptions as the flag says, over 90 days, and logs how long reports take.
//
//	go test ./aibridgedserver/reports -run TestScale -v -timeout 2h -scale 1000000
//
// With -args -postgres -durable it is about PostgreSQL, whose CPU is not counted.
func TestScale(t *testing.T) {
	if *scale == 0 {
		t.Skip("no -scale")
	}
	path := *scaleDB
	if path == "" {
		path = filepath.Join(t.TempDir(), "control.db")
	}
	h := openHouse(t, path)
	from := noon.Add(-90 * 24 * time.Hour)
	var empty bool
	if err := h.db.Reader.QueryRowContext(t.Context(), `SELECT NOT EXISTS (SELECT 1 FROM interceptions)`).Scan(&empty); err != nil {
		t.Fatal(err)
	}
	if empty {
		var users []string
		for n := range 500 {
			users = append(users, h.user(t, fmt.Sprintf("user%03d", n)))
		}
		began := time.Now()
		h.fill(t, recordgen.Options{Interceptions: *scale, Users: users, From: from, To: noon, Seed: 1})
		t.Logf("filled in %v", time.Since(began).Round(time.Second))
	}
	began, spent := time.Now(), testkit.CPUTime(t)
	n, err := h.Digest(t.Context(), reports.DigestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	err = h.db.Reader.QueryRowContext(t.Context(), engine.Text(`SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`,
		`SELECT pg_database_size(current_database())`)).Scan(&size)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("derived from %d in %v with %v of CPU; %d MB", n, time.Since(began).Round(time.Second), (testkit.CPUTime(t) - spent).Round(time.Second),
		size/1_000_000)
	user, err := h.UserID(t.Context(), "user007")
	if err != nil {
		t.Fatal(err)
	}
	busiest, err := h.UserID(t.Context(), "user000")
	if err != nil {
		t.Fatal(err)
	}
	for _, view := range scaleViews(h, user, busiest) {
		var took, cpu []time.Duration
		var rows int
		for range 5 {
			began, spent := time.Now(), testkit.CPUTime(t)
			if rows, err = view.look(t); err != nil {
				t.Fatalf("%s: %v", view.name, err)
			}
			took, cpu = append(took, time.Since(began)), append(cpu, testkit.CPUTime(t)-spent)
		}
		t.Logf("%-42s first %8v, then %8v with %8v of CPU, %d rows", view.name, took[0].Round(100*time.Microsecond),
			slices.Min(took[1:]).Round(100*time.Microsecond), slices.Min(cpu[1:]).Round(100*time.Microsecond), rows)
	}
}

type scaleView struct {
	name string
	look func(t *testing.T) (rows int, err error)
}

func scaleViews(h house, user, busiest string) (views []scaleView) {
	who := reports.Operator()
	add := func(name string, look func(t *testing.T) (int, error)) { views = append(views, scaleView{name, look}) }
	kathmandu := time.FixedZone("+05:45", 5*3600+45*60)
	for _, days := range []int{1, 30, 90} {
		query := reports.Query{Range: reports.Range{From: noon.Add(-time.Duration(days) * 24 * time.Hour), To: noon}, Zone: kathmandu}
		for _, by := range []reports.Dimension{reports.ByModel, reports.ByUser} {
			add(fmt.Sprintf("overview of %d days by %d", days, by), func(t *testing.T) (int, error) {
				o, err := h.Overview(t.Context(), who, query, by)
				return int(o.Total.Requests), err
			})
		}
		for name, user := range map[string]string{"a user": user, "the busiest user": busiest} {
			add(fmt.Sprintf("overview of %d days of %s", days, name), func(t *testing.T) (int, error) {
				query := query
				query.UserID = user
				o, err := h.Overview(t.Context(), who, query, reports.ByModel)
				return int(o.Total.Requests), err
			})
		}
		for _, by := range reports.Breakdowns() {
			add(fmt.Sprintf("usage of %d days by %s", days, by), func(t *testing.T) (int, error) {
				found, err := h.Breakdown(t.Context(), who, query, by)
				if err != nil {
					return 0, err
				}
				return len(found.Rows), nil
			})
		}
	}
	for _, days := range []int{30, 90} {
		add(fmt.Sprintf("a page of usage of %d days by session", days), func(t *testing.T) (int, error) {
			query := reports.Query{Range: reports.Range{From: noon.Add(-time.Duration(days) * 24 * time.Hour), To: noon}, Limit: 500}
			found, err := h.Breakdown(t.Context(), who, query, "session")
			if err != nil {
				return 0, err
			}
			return len(found.Rows) + found.Left, nil
		})
	}
	range30 := reports.Range{From: noon.Add(-30 * 24 * time.Hour), To: noon}
	for name, filter := range map[string]reports.SessionFilter{
		"all": {}, "30 days": {Range: range30}, "of a user": {UserID: user}, "with a rare outcome": {Outcome: "overloaded"},
		"with a model, a tool and an outcome": {Model: "gpt-5.4", Tool: "Task", Outcome: "timeout"},
		"dearest of 30 days":                  {Range: range30, Dearest: true},
		"dearest, of a model and a tool":      {Model: "gpt-5.4", Tool: "Task", Dearest: true},
		"dearest, of the busiest user":        {UserID: busiest, Dearest: true},
		"dearest that there are none of":      {Model: "gpt-5.4", Client: "Cline", Dearest: true},
		"with common words":                   {Text: "fix test"}, "with a missing word": {Text: "zebra"},
		"with words, of a user": {Text: "naive 世界", UserID: user},
	} {
		add("sessions "+name, func(t *testing.T) (int, error) {
			page, err := h.Sessions(t.Context(), who, filter)
			if err != nil {
				return 0, err
			}
			return len(page.Sessions), err
		})
	}
	add("a session", func(t *testing.T) (int, error) {
		page, err := h.Sessions(t.Context(), who, reports.SessionFilter{Range: range30, Dearest: true, Limit: 1})
		if err != nil {
			return 0, err
		}
		timeline, err := h.Timeline(t.Context(), who, page.Sessions[0].ID, "")
		if err != nil {
			return 0, err
		}
		return len(timeline.Turns), err
	})
	var one string
	for name, filter := range map[string]reports.InterceptionFilter{
		"all": {}, "of a user": {UserID: user}, "of a user and a model": {UserID: user, Model: "gpt-5.4"}, "of a model": {Model: "our-own-model"},
		"with a rare outcome": {Outcome: "client_closed"}, "that there are none of": {Model: "gpt-5.4", Client: "Cline"},
	} {
		filter.Range = reports.Range{From: noon.Add(-90 * 24 * time.Hour), To: noon}
		add("interceptions "+name, func(t *testing.T) (int, error) {
			page, err := h.Interceptions(t.Context(), who, filter)
			if err != nil {
				return 0, err
			}
			if len(page.Interceptions) > 0 {
				one = page.Interceptions[0].ID
			}
			return len(page.Interceptions), err
		})
	}
	add("an interception", func(t *testing.T) (int, error) {
		_, err := h.Interception(t.Context(), who, one)
		return 1, err
	})
	return views
}
