package reports_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/recordgen"
	"github.com/coder/aibridged/proto"
)

func (h house) breakdown(t *testing.T, q reports.Query, by string) *reports.Breakdown {
	t.Helper()
	b, err := h.Breakdown(t.Context(), reports.Operator(), q, by)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sum adds up all lines of a breakdown.
func sum(b *reports.Breakdown) (sum reports.Figures) {
	for _, line := range b.Lines() {
		sum.Add(line.Figures)
	}
	return sum
}

// same reports whether two figures are of the same requests.
func same(a, b reports.Figures) bool {
	return a.Requests == b.Requests && a.Errors == b.Errors && a.Input == b.Input && a.Output == b.Output && a.USD.Equal(b.USD) && a.Unpriced == b.Unpriced
}

// Whatever a range is split by, whatever its ends are, however few rows are wanted and whatever was deleted since, the lines add
// up to one total, and that is the range's.
func TestEverySplitHasTheSameTotal(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	users := []string{h.user(t, "ada"), h.user(t, "bob")}
	h.fill(t, recordgen.Options{Interceptions: 600, Users: users, From: noon.Add(-3 * 24 * time.Hour), To: noon, Seed: 4})
	// A session that goes on for longer than each range, and one that is in none.
	for n := range 40 {
		h.store(t, shot{user: users[0], session: "long", at: noon.Add(-80*time.Hour + time.Duration(n)*2*time.Hour), prompt: "long"}.records()...)
	}
	h.digest(t)
	ranges := []reports.Range{
		around, {From: noon.Add(-50*time.Hour - 7*time.Minute), To: noon.Add(-20*time.Hour - 3*time.Second)}, {From: noon.Add(-30 * time.Hour), To: noon.Add(time.Hour)},
	}
	check := func(when string) {
		t.Helper()
		for _, over := range ranges {
			for _, user := range []string{"", users[0]} {
				for _, limit := range []int{0, 3} {
					q := reports.Query{Range: over, UserID: user, Limit: limit}
					want := h.total(t, q)
					for _, by := range reports.Breakdowns() {
						b := h.breakdown(t, q, by)
						if !same(b.Total, want) || !b.Range.From.Equal(over.Aligned().From) || !b.Range.To.Equal(over.Aligned().To) {
							t.Errorf("%s, by %s of %q over %v: total %+v, want %+v", when, by, user, b.Range, b.Total, want)
						}
						if limit > 0 && len(b.Rows) > limit {
							t.Errorf("%s, by %s: %d rows", when, by, len(b.Rows))
						}
						if got := sum(b); by != "tool" && (by != "group" || b.Left == 0 && when == "all") && !same(got, want) {
							t.Errorf("%s, by %s of %q, limit %d: lines add up to %+v, want %+v", when, by, user, limit, got, want)
						}
					}
				}
			}
		}
	}
	check("all")
	rows := h.breakdown(t, reports.Query{Range: around}, "session")
	few := h.breakdown(t, reports.Query{Range: around, Limit: 3}, "session")
	if len(rows.Rows) < 10 || few.Left != len(rows.Rows)-3 || rows.Left != 0 || rows.HasOthers() || fmt.Sprint(few.Rows) != fmt.Sprint(rows.Rows[:3]) {
		t.Errorf("%d rows, and %d beside 3", len(rows.Rows), few.Left)
	}
	before := h.total(t, reports.Query{Range: ranges[1], UserID: users[0]})
	if _, err := h.server.Prune(t.Context(), noon.Add(-30*time.Hour)); err != nil {
		t.Fatal(err)
	}
	h.digest(t)
	if after := h.total(t, reports.Query{Range: ranges[1], UserID: users[0]}); !same(before, after) {
		t.Errorf("a user's total was %+v, and is %+v after records were deleted", before, after)
	}
	check("pruned")
	lines := h.breakdown(t, reports.Query{Range: ranges[1]}, "session").Lines()
	if last := lines[len(lines)-1]; last.Name != "(deleted)" || last.Value != "" || last.Requests == 0 {
		t.Errorf("%+v", last)
	}
}

// A session has in a range what it did in it.
func TestSessionsAcrossTheEndsOfARange(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.user(t, "ada")
	for n := range 10 {
		h.store(t, shot{user: ada, session: "s", at: noon.Add(time.Duration(n) * time.Hour)}.records()...)
	}
	for _, test := range []struct{ from, to, want int }{{-1, 20, 10}, {2, 5, 3}, {-5, 3, 3}, {7, 90, 3}, {15, 16, 0}, {-9, -5, 0}} {
		q := reports.Query{Range: reports.Range{From: noon.Add(time.Duration(test.from) * time.Hour), To: noon.Add(time.Duration(test.to) * time.Hour)}}
		b := h.breakdown(t, q, "session")
		if int(sum(b).Requests) != test.want || len(b.Rows) > 1 || b.HasOthers() || b.Left != 0 {
			t.Errorf("%d to %d: %+v", test.from, test.to, b)
		}
		if len(b.Rows) == 1 && b.Rows[0].FirstByte == 0 {
			t.Errorf("%d to %d: no time to the first byte", test.from, test.to)
		}
	}
}

// What is not known is null in JSON and empty in a file, and a tool has no tokens and no cost.
func TestLines(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store(t, shot{user: h.user(t, "ada"), model: "our-own", session: "s", calls: []string{"c"}, running: true}.records()...)
	for by, want := range map[string][2]string{
		"model": {`"first_byte_p50_ms":null`, "our-own,our-own,1,0,1000,100,0,0,,0,1,1100,1,,2026-"},
		"tool":  {`{"value":"Bash","name":"Bash","requests":1,"tool_calls":1,"from":"2026-`, "Bash,Bash,1,1,2026-"},
	} {
		line := h.breakdown(t, reports.Query{Range: around}, by).Lines()[0]
		text, err := json.Marshal(line)
		if cells := strings.Join(line.Cells(), ","); err != nil || !strings.Contains(string(text), want[0]) || !strings.HasPrefix(cells, want[1]) {
			t.Errorf("by %s: %s, %v\n%s", by, text, err, cells)
		}
		if len(line.Cells()) != len(reports.LineColumns(by)) {
			t.Errorf("by %s: %d cells and %d columns", by, len(line.Cells()), len(reports.LineColumns(by)))
		}
	}
}

// A range within a quarter of an hour is refused: the sums cannot tell what is in it.
func TestRangeWithinAQuarter(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, by := range reports.Breakdowns() {
		q := reports.Query{Range: reports.Range{From: noon.Add(time.Minute), To: noon.Add(9 * time.Minute)}}
		if _, err := h.Breakdown(t.Context(), reports.Operator(), q, by); err == nil || !strings.Contains(err.Error(), "quarter") {
			t.Errorf("by %s: %v", by, err)
		}
	}
}

// A tool that the upstream ran counts once, in the answer that it is in, and other calls of its name do not count.
func TestHostedTools(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := shot{id: newID(), user: h.user(t, "ada"), kind: "openai", model: "gpt-5", tokens: &proto.RecordTokenUsageRequest{MsgId: "resp_1"}}
	records := s.records()
	for _, call := range []struct{ tool, callID, itemID, message, input string }{
		{"web_search_call", "", "ws_1", "resp_1", `{"type":"search","query":"x"}`},
		{"web_search_call", "", "ws_2", "resp_1", `{"type":"open_page","url":"x"}`},
		{"web_search_call", "", "ws_3", "resp_other", `{"query":"x","type":"search"}`},
		{"web_search_call", "call_1", "fc_1", "resp_1", `{}`}, // A function of the client's.
		{"file_search_call", "", "fs_1", "resp_1", `{}`},
		{"mcp_call", "", "mcp_1", "resp_1", `{}`},
		{"zorp_call", "", "z_1", "resp_1", `{}`},
	} {
		records = append(records, &proto.Record{Record: &proto.Record_ToolUsage{ToolUsage: &proto.RecordToolUsageRequest{
			InterceptionId: s.id, RecordId: newID(), Tool: call.tool, ToolCallId: call.callID, ItemId: call.itemID, MsgId: call.message, Input: call.input,
			CreatedAt: records[0].GetInterception().GetStartedAt(),
		}}})
	}
	h.store(t, records...)
	found, err := h.Interception(t.Context(), reports.Operator(), s.id)
	if err != nil || fmt.Sprint(found.Total.Items) != "[{web_search 2 priced 0.02} {file_search 1 priced 0.0025} {hosted_tool 1 unknown 0}]" {
		t.Errorf("%v, %v", found.Total, err)
	}
	if got := h.total(t, reports.Query{Range: around}); got.USD.String() != "0.0225" || got.Unpriced != 1 {
		t.Errorf("%+v", got)
	}
}

// A stream that was cut before its usage came has an unknown cost and an estimated one. An answer that failed has none.
func TestCutBeforeItsUsage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.user(t, "ada")
	for errorType, want := range map[string]string{
		"truncated": "1 1 0.00018", "client_closed": "1 1 0.00018", "server_error": "1 0 0", "overloaded": "1 0 0",
	} {
		s := shot{id: newID(), user: ada, session: errorType, kind: "openai", model: "gpt-5", errorType: errorType, unused: true}
		records := s.records()
		records[len(records)-1].GetInterceptionEnded().ResponseBytes = 4500 // 18 tokens.
		h.store(t, records...)
		row := h.rows(t, reports.Query{Range: around}, "outcome")[errorType]
		if got := fmt.Sprint(row.Requests, row.Unpriced, row.USD); got != want || !row.USD.Equal(row.Estimated) {
			t.Errorf("%s: %s, want %s", errorType, got, want)
		}
		found, err := h.Interception(t.Context(), reports.Operator(), s.id)
		if err != nil || found.Total.HasUnknown() != (row.Unpriced > 0) || !found.Total.USD.Equal(row.USD) {
			t.Errorf("%s: %+v, %v", errorType, found.Total, err)
		}
	}
	// The second round of an answer was cut: the first one has a usage.
	for errorType, want := range map[string]bool{"truncated": true, "client_closed": true, "server_error": false} {
		s := shot{id: newID(), user: ada, kind: "openai", model: "gpt-5", errorType: errorType}
		h.store(t, s.records()...)
		found, err := h.Interception(t.Context(), reports.Operator(), s.id)
		if err != nil || found.Total.HasUnknown() != want || found.Total.USD.String() != "0.00225" || found.Total.Estimated {
			t.Errorf("%s after a round: %+v, %v", errorType, found.Total, err)
		}
	}
	before := h.total(t, reports.Query{Range: around})
	silent := shot{user: ada, errorType: "client_closed", unused: true}.records() // It left before a byte came, and the upstream may have gone on.
	silent[len(silent)-1].GetInterceptionEnded().ResponseBytes = 0
	h.store(t, silent...)
	if got := h.total(t, reports.Query{Range: around}); got.Unpriced != before.Unpriced+1 || got.Requests != before.Requests+1 || got.Unpriced != 5 || !got.USD.Equal(before.USD) {
		t.Errorf("%+v", got)
	}
}
