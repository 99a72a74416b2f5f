package reports_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/shopspring/decimal"

	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/recordgen"
	"github.com/coder/aibridged/proto"
)

func packed(t *testing.T, values map[string]any) map[string]*anypb.Any {
	t.Helper()
	all := map[string]*anypb.Any{}
	for name, value := range values {
		wrapped, err := structpb.NewValue(value)
		if err != nil {
			t.Fatal(err)
		}
		if all[name], err = anypb.New(wrapped); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func (h house) total(t *testing.T, q reports.Query) reports.Figures {
	t.Helper()
	o, err := h.Overview(t.Context(), reports.Operator(), q, reports.ByModel)
	if err != nil {
		t.Fatal(err)
	}
	return o.Total
}

func (h house) rows(t *testing.T, q reports.Query, by string) map[string]reports.Row {
	t.Helper()
	found, err := h.Breakdown(t.Context(), reports.Operator(), q, by)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]reports.Row{}
	for _, row := range found.Rows {
		byName[row.Name] = row
	}
	return byName
}

// What has no price is counted apart, with its tokens and its model, and is not 0. What failed without usage costs nothing
// and is counted. What the upstream told no usage of is unpriced.
func TestUnpriced(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	user := h.user(t, "ada")
	for _, s := range []shot{
		{}, {model: "our-own"}, {errorType: "overloaded", unused: true}, {unused: true}, {running: true, unused: true},
	} {
		s.user = user
		h.store(t, s.records()...)
	}
	got := h.total(t, reports.Query{Range: around})
	if got.Requests != 5 || got.Errors != 1 || got.Unpriced != 2 || got.UnpricedTokens != 1100 || got.USD.String() != "0.0075" {
		t.Errorf("%+v", got)
	}
	models := h.rows(t, reports.Query{Range: around}, "model")
	if own := models["our-own"]; own.Unpriced != 1 || own.UnpricedTokens != 1100 || !own.USD.IsZero() {
		t.Errorf("%+v", own)
	}
	outcomes := h.rows(t, reports.Query{Range: around}, "outcome")
	if outcomes["ok"].Requests != 3 || outcomes["overloaded"].Requests != 1 || outcomes["running"].Requests != 1 {
		t.Errorf("%+v", outcomes)
	}
}

// The output of a stream that was cut is estimated, and the estimated part is told apart.
func TestEstimated(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store(t, shot{user: h.user(t, "ada"), errorType: "truncated", tokens: &proto.RecordTokenUsageRequest{
		InputTokens: 1000, OutputTokens: 2, Metadata: packed(t, map[string]any{"partial": true}),
	}}.records()...) // It has 3,000 bytes.
	got := h.total(t, reports.Query{Range: around})
	if got.USD.String() != "0.0075" || got.Estimated.String() != "0.0025" || got.Errors != 1 {
		t.Errorf("%+v", got)
	}
}

// Records in any order, and in as many pieces as there are, add up to the same.
func TestLateRecords(t *testing.T) {
	t.Parallel()
	whole, pieces := newHouse(t), newHouse(t)
	options := recordgen.Options{Interceptions: 30, Users: []string{newID(), newID()}, From: noon.Add(-24 * time.Hour), To: noon, Seed: 3}
	whole.fill(t, options)
	whole.digest(t)
	var all []*proto.Record
	for batch := range recordgen.Batches(options) {
		all = append(all, batch...)
	}
	slices.Reverse(all)
	for _, record := range all {
		pieces.store(t, record)
	}
	query := reports.Query{Range: around}
	for _, by := range reports.Breakdowns() {
		if by == "session" {
			continue // Which interception began a chain is not known before it has come.
		}
		want, got := whole.rows(t, query, by), pieces.rows(t, query, by)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("by %s:\n got %v\nwant %v", by, got, want)
		}
	}
}

// A corrected price counts once its costs are computed anew, also for days that are over.
func TestReprice(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	user := h.user(t, "ada")
	for day := range 3 {
		h.store(t, shot{user: user, model: "our-own", at: noon.Add(-time.Duration(day) * 24 * time.Hour)}.records()...)
	}
	again := openHouse(t, h.path, prices.Override{Model: "our-own", Prices: map[prices.Kind]decimal.Decimal{
		prices.Input: decimal.NewFromInt(1), prices.Output: decimal.NewFromInt(10),
	}})
	if got := again.total(t, reports.Query{Range: around}); got.Unpriced != 3 {
		t.Errorf("before: %+v", got)
	}
	n, err := again.Reprice(t.Context(), noon.Add(-30*time.Hour), nil)
	if err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	if got := again.total(t, reports.Query{Range: around}); got.Unpriced != 1 || got.Requests != 3 || got.USD.String() != "0.004" {
		t.Errorf("after: %+v", got)
	}
	if sessions := again.rows(t, reports.Query{Range: around}, "session"); len(sessions) == 0 {
		t.Error("no sessions")
	}
}

// The days of a range add up to the range in every time zone, also where the clocks change.
func TestDaysOfEveryZone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	user := h.user(t, "ada")
	// An interception each quarter of an hour, around the change of the clocks on both sides of the Atlantic.
	from := time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC)
	var records []*proto.Record
	for n := range 9 * 96 {
		records = append(records, shot{user: user, unused: true, at: from.Add(time.Duration(n) * 15 * time.Minute)}.records()...)
	}
	h.store(t, records...)
	for _, name := range []string{"UTC", "America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham", "America/St_Johns", "Africa/Cairo"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, by := range []string{"", user} {
			query := reports.Query{Range: reports.Range{From: from.Add(5 * time.Hour), To: from.Add(8*24*time.Hour + 45*time.Minute)}, Zone: zone, UserID: by}
			o, err := h.Overview(t.Context(), reports.Operator(), query, reports.ByClient)
			if err != nil {
				t.Fatal(err)
			}
			all := int64(0)
			for i, day := range o.Days {
				all += day.Total.Requests
				end := query.To
				if i+1 < len(o.Days) {
					end = o.Days[i+1].Begin
					if begin := o.Days[i+1].Begin; begin.Hour() != 0 && name != "Africa/Cairo" || begin.Minute() != 0 {
						t.Errorf("%s: a day begins at %v", name, begin)
					}
				}
				if want := int64(end.Sub(day.Begin) / (15 * time.Minute)); day.Total.Requests != want || day.By["Claude Code"].Requests != want {
					t.Errorf("%s, %q: %v has %d, want %d", name, by, day.Begin, day.Total.Requests, want)
				}
			}
			if want := int64(query.To.Sub(query.From) / (15 * time.Minute)); all != want || o.Total.Requests != want {
				t.Errorf("%s: days of %d, total %d, want %d", name, all, o.Total.Requests, want)
			}
		}
	}
}

// Whatever an upstream claims to have used, what comes after is derived, too.
func TestHostileFigures(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	user := h.user(t, "ada")
	for range 12 {
		h.store(t, shot{user: user, session: "s", tokens: &proto.RecordTokenUsageRequest{
			InputTokens: math.MaxInt64, OutputTokens: math.MinInt64, CacheReadInputTokens: math.MaxInt64,
			Metadata: packed(t, map[string]any{"raw": `{"cost":1e12}`, "web_search_requests": "many"}),
		}}.records()...)
	}
	h.store(t, shot{user: user, session: "s"}.records()...)
	got := h.total(t, reports.Query{Range: around})
	if got.Requests != 13 || got.Unpriced != 12 || got.USD.String() != "0.0075" || got.Output != 100 {
		t.Errorf("%+v", got)
	}
	if got := h.total(t, reports.Query{Range: around, UserID: user}); got.Unpriced != 12 || got.USD.String() != "0.0075" {
		t.Errorf("of the user: %+v", got)
	}
}

// What is deleted leaves sessions and the search, at the next digest. What it cost stays: it was spent.
func TestPruned(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	user := h.user(t, "ada")
	h.store(t, shot{user: user, session: "old", prompt: "Zebra secrets", at: noon.Add(-time.Hour)}.records()...)
	h.store(t, shot{user: user, session: "both", prompt: "Zebra beginnings", at: noon.Add(-time.Hour)}.records()...)
	h.store(t, shot{user: user, session: "both", prompt: "Later words"}.records()...)
	if _, err := h.server.Prune(t.Context(), noon.Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	h.digest(t)
	page, err := h.Sessions(t.Context(), reports.Operator(), reports.SessionFilter{})
	if err != nil || len(page.Sessions) != 1 || page.Sessions[0].ClientSessionID != "both" || page.Sessions[0].Title != "" {
		t.Errorf("%+v, %v", page, err)
	}
	for text, want := range map[string]int{"zebra": 0, "later": 1} {
		page, err := h.Sessions(t.Context(), reports.Operator(), reports.SessionFilter{Text: text})
		if err != nil || len(page.Sessions) != want {
			t.Errorf("%s: %+v, %v", text, page, err)
		}
	}
	if got := h.total(t, reports.Query{Range: around}); got.Requests != 3 {
		t.Errorf("%+v", got)
	}
	for _, table := range []string{"facts", "sessions", "session_keys"} {
		var n int
		if err := h.db.Reader.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n != 1 {
			t.Errorf("%s has %d rows, %v", table, n, err)
		}
	}
}

// Two processes that derive at the same time derive each interception once.
func TestTwoDigest(t *testing.T) {
	t.Parallel()
	one := newHouse(t)
	two := openHouse(t, one.path)
	one.fill(t, recordgen.Options{Interceptions: 800, Users: []string{newID()}, From: noon.Add(-24 * time.Hour), To: noon, Seed: 5})
	failures := make(chan error)
	for _, h := range []house{one, two} {
		go func() {
			_, err := h.Digest(t.Context(), reports.DigestOptions{})
			failures <- err
		}()
	}
	for range 2 {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	if got := one.total(t, reports.Query{Range: around}); got.Requests != 800 {
		t.Errorf("%+v", got)
	}
}

// A note of what was touched that is committed after those behind it, while a step is under way, is not lost.
func TestNoteOfASlowTransaction(t *testing.T) {
	t.Parallel()
	if !engine.Postgres() {
		t.Skip("SQLite has one transaction at a time")
	}
	h := newHouse(t)
	first, second := shot{id: newID(), user: h.user(t, "ada")}, shot{id: newID(), user: h.user(t, "bob")}
	h.store(t, first.records()...)
	begin := func(statement string, args ...any) *sql.Tx {
		tx, err := h.db.Writer.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	id := uuid.MustParse(first.id)
	slow := begin(`INSERT INTO touched (ids) VALUES ($1)`, id[:])
	if _, err := h.server.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: second.records()}); err != nil {
		t.Fatal(err)
	}
	step := begin(`UPDATE derivation_steps SET number = number`) // The step has read, and waits for this.
	digested := make(chan int64)
	go func() {
		n, err := h.Digest(t.Context(), reports.DigestOptions{})
		if err != nil {
			t.Error(err)
		}
		digested <- n
	}()
	for waiting := 0; waiting == 0; time.Sleep(5 * time.Millisecond) {
		err := h.db.Reader.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(slow.Commit(), step.Rollback()); err != nil {
		t.Fatal(err)
	}
	if n := <-digested; n != 2 {
		t.Errorf("%d are digested, want 2", n)
	}
}

// The records of a background response count for the interception that began it, whichever came first.
func TestBackground(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	background := newID()
	s := shot{id: newID(), user: h.user(t, "ada"), unused: true}
	records := s.records()
	records[1].GetInterceptionEnded().BackgroundId = &background
	h.store(t, records...)
	if got := h.total(t, reports.Query{Range: around}); got.Requests != 1 || !got.NothingPriced() {
		t.Errorf("before its final state is read: %+v", got)
	}
	usage := shot{user: s.user}.records()[1]
	usage.GetTokenUsage().BackgroundId = &background
	h.store(t, usage)
	if got := h.total(t, reports.Query{Range: around}); got.Requests != 1 || got.USD.String() != "0.0075" || got.Unpriced != 0 {
		t.Errorf("%+v", got)
	}
}
