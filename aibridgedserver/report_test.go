package aibridgedserver_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// Scripts read the JSON of an interception: its names do not change, unknown values are null, and lists are never null.
func TestInterceptionAsJSON(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	_, alice := c.token(t, "alice")
	const running, ended = "019ab000-0000-7000-8000-000000000001", "019ab000-0000-7000-8000-000000000002"

	set := func(s string) *string { return &s }
	whole := start(ended, alice.UserID, 10)
	request := whole.GetInterception()
	request.ClientSessionId, request.CorrelatingToolCallId = set("session"), set("")
	request.Metadata = map[string]*anypb.Any{"Username": packed(t, "alice")}
	request.RequestBytes, request.RequestSha256 = 7, []byte{0xab, 0x01}
	ending := end(ended, 12)
	request2 := ending.GetInterceptionEnded()
	request2.ErrorType, request2.ErrorMessage, request2.CredentialHint = set("overloaded"), set("busy"), "sk-b...1234"
	request2.ResponseBytes, request2.ResponseSha256, request2.Unread, request2.FirstByteMicros = 0, []byte{0xcd}, 2, 1500
	call := tool(ended, "Bash", `{ "command" : "ls" }`, 11)
	call.GetToolUsage().Injected, call.GetToolUsage().ServerUrl = true, set("https://mcp.example")
	call.GetToolUsage().InvocationError, call.GetToolUsage().ItemId = set("no"), "item_1"
	records := []*proto.Record{
		start(running, "019ab000-0000-7000-8000-00000000000f", 9), whole, prompt(ended, "hello", 10), tokens(ended, 10, 11),
		call, thought(ended, "hm", 11), ending,
	}
	for i, record := range records {
		giveRecordID(record, "019ab000-0000-7000-8000-0000000001"+strconv.Itoa(10+i))
	}
	c.mustStore(t, records...)

	var got strings.Builder
	for _, interception := range c.report(t, aibridgedserver.InterceptionFilter{}) {
		text, err := json.Marshal(interception)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(text)
		got.WriteByte('\n')
	}
	want := `{"id":"` + running + `","initiator":"","initiator_id":"019ab000-0000-7000-8000-00000000000f",` +
		`"api_key_id":"abcdefghij","provider":"anthropic","provider_name":"main","model":"claude",` +
		`"client":"Claude Code","client_session_id":null,"user_agent":"claude-cli/2.1.330",` +
		`"correlating_tool_call_id":null,"credential_kind":"centralized","credential_hint":"sk-a...wxyz","metadata":{},` +
		`"request_bytes":null,"request_sha256":null,` +
		`"started_at":"2026-11-22T00:00:09Z","ended_at":null,"error_type":null,"error_message":null,` +
		`"response_bytes":null,"response_sha256":null,"first_byte_us":null,"unread":null,"prompts":[],` +
		`"token_usages":[],"tool_usages":[],"model_thoughts":[]}` + "\n" +
		`{"id":"` + ended + `","initiator":"alice","initiator_id":"` + alice.UserID + `",` +
		`"api_key_id":"abcdefghij","provider":"anthropic","provider_name":"main","model":"claude",` +
		`"client":"Claude Code","client_session_id":"session","user_agent":"claude-cli/2.1.330",` +
		`"correlating_tool_call_id":"","credential_kind":"centralized","credential_hint":"sk-b...1234",` +
		`"metadata":{"Username":"alice"},"request_bytes":7,"request_sha256":"ab01","started_at":"2026-11-22T00:00:10Z","ended_at":"2026-11-22T00:00:12Z",` +
		`"error_type":"overloaded","error_message":"busy","response_bytes":0,"response_sha256":"cd","first_byte_us":1500,"unread":2,` +
		`"prompts":[{"record_id":"019ab000-0000-7000-8000-000000000112","msg_id":"msg_1","prompt":"hello","metadata":{},` +
		`"created_at":"2026-11-22T00:00:10Z"}],` +
		`"token_usages":[{"record_id":"019ab000-0000-7000-8000-000000000113","msg_id":"msg_1","input_tokens":10,` +
		`"output_tokens":7,"cache_read_input_tokens":5,"cache_write_input_tokens":3,"metadata":{},` +
		`"created_at":"2026-11-22T00:00:11Z"}],` +
		`"tool_usages":[{"record_id":"019ab000-0000-7000-8000-000000000114","msg_id":"msg_1","tool_call_id":"toolu_1",` +
		`"item_id":"item_1","server_url":"https://mcp.example","tool":"Bash","input":"{ \"command\" : \"ls\" }",` +
		`"injected":true,"invocation_error":"no","metadata":{},"created_at":"2026-11-22T00:00:11Z"}],` +
		`"model_thoughts":[{"record_id":"019ab000-0000-7000-8000-000000000115","content":"hm","metadata":{},` +
		`"created_at":"2026-11-22T00:00:11Z"}]}` + "\n"
	if got.String() != want {
		t.Errorf("got  %s\nwant %s", got.String(), want)
	}
}

func giveRecordID(record *proto.Record, id string) {
	switch in := record.GetRecord().(type) {
	case *proto.Record_TokenUsage:
		in.TokenUsage.RecordId = id
	case *proto.Record_PromptUsage:
		in.PromptUsage.RecordId = id
	case *proto.Record_ToolUsage:
		in.ToolUsage.RecordId = id
	case *proto.Record_ModelThought:
		in.ModelThought.RecordId = id
	}
}

func TestInterceptionsFilter(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	_, alice := c.token(t, "alice")
	_, bob := c.token(t, "bob")
	// 350 interceptions, more than three pages, of which the first 50 start at the same time; every third is bob's. They
	// arrive in no order.
	var ids []string
	var records []*proto.Record
	for i := range 350 {
		owner := alice.UserID
		if i%3 == 0 {
			owner = bob.UserID
		}
		id := newID()
		ids = append(ids, id)
		records = append(records, start(id, owner, max(0, i-49)), tokens(id, int64(i), i))
	}
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	c.mustStore(t, records...)

	all := func(int) bool { return true }
	bobs := func(i int) bool { return i%3 == 0 }
	for name, test := range map[string]struct {
		filter aibridgedserver.InterceptionFilter
		keeps  func(i int) bool
		first  int // The first index that is not filtered out by Since.
		limit  int
	}{
		"none":                {aibridgedserver.InterceptionFilter{}, all, 0, 350},
		"one":                 {aibridgedserver.InterceptionFilter{Limit: 1}, all, 0, 1},
		"a page":              {aibridgedserver.InterceptionFilter{Limit: 100}, all, 0, 100},
		"more than a page":    {aibridgedserver.InterceptionFilter{Limit: 101}, all, 0, 101},
		"all but one":         {aibridgedserver.InterceptionFilter{Limit: 349}, all, 0, 349},
		"all by limit":        {aibridgedserver.InterceptionFilter{Limit: 350}, all, 0, 350},
		"more than there are": {aibridgedserver.InterceptionFilter{Limit: 1000}, all, 0, 350},
		"within equal times":  {aibridgedserver.InterceptionFilter{Limit: 320}, all, 0, 320},
		"user":                {aibridgedserver.InterceptionFilter{Username: "bob"}, bobs, 0, 350},
		"user and limit":      {aibridgedserver.InterceptionFilter{Username: "bob", Limit: 30}, bobs, 0, 30},
		"nobody":              {aibridgedserver.InterceptionFilter{Username: "carol", Limit: 30}, bobs, 0, 0},
		"since":               {aibridgedserver.InterceptionFilter{Since: second(100).AsTime()}, all, 149, 350},
		"since the beginning": {aibridgedserver.InterceptionFilter{Since: second(0).AsTime()}, all, 0, 350},
		"since after one": {
			aibridgedserver.InterceptionFilter{Since: second(100).AsTime().Add(time.Microsecond)}, all, 150, 350,
		},
		"since the future": {aibridgedserver.InterceptionFilter{Since: second(1e6).AsTime(), Limit: 3}, all, 350, 3},
		"everything": {
			aibridgedserver.InterceptionFilter{Username: "bob", Since: second(100).AsTime(), Limit: 5}, bobs, 149, 5,
		},
		"since is stronger than limit": {
			aibridgedserver.InterceptionFilter{Since: second(295).AsTime(), Limit: 50}, all, 344, 50,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want []string
			for i, id := range ids {
				if i >= test.first && test.keeps(i) {
					want = append(want, id)
				}
			}
			want = want[max(0, len(want)-test.limit):]
			var got []string
			for _, interception := range c.report(t, test.filter) {
				got = append(got, interception.ID)
				i := len(got) - 1
				if i < len(want) && ids[interception.TokenUsages[0].InputTokens] != want[i] {
					t.Errorf("interception %d has another's tokens", i)
				}
			}
			if strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("got %d interceptions: %v\nwant %d: %v", len(got), got, len(want), want)
			}
		})
	}
}

// An interception that EndedSince keeps may have started long before that time. One that is found by its id need not
// have ended.
func TestInterceptionsByEndAndID(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	long, short, running := newID(), newID(), newID()
	c.mustStore(t, start(long, newID(), 0), start(short, newID(), 1), start(running, newID(), 2), end(long, 100), end(short, 5))
	for at, want := range map[int][]string{5: {long, short}, 6: {long}, 100: {long}, 101: nil} {
		var got []string
		for _, interception := range c.report(t, aibridgedserver.InterceptionFilter{EndedSince: second(at).AsTime()}) {
			got = append(got, interception.ID)
		}
		checkJSON(t, got, want)
	}
	for id, want := range map[string]int{short: 1, running: 1, newID(): 0} {
		if got := c.report(t, aibridgedserver.InterceptionFilter{ID: id}); len(got) != want || want == 1 && got[0].ID != id {
			t.Errorf("by its id: %+v", got)
		}
	}
	newest := c.report(t, aibridgedserver.InterceptionFilter{EndedSince: second(1).AsTime(), Limit: 1})
	if len(newest) != 1 || newest[0].ID != short {
		t.Errorf("the newest is %+v", newest)
	}
}

// The interceptions here last less than, just and more than the ten minutes above which they are in an index of their
// own. Some end before they start, as happens when a clock is set back.
func TestInterceptionsEndedSince(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	const day = 86_400
	lengths := []int{0, 1, 599, 600, 601, 5000, day, -1, -700}
	type interception struct {
		id        string
		start, at int
	}
	var all []interception
	var records []*proto.Record
	for i := range 500 {
		one := interception{id: newID(), start: i * 60}
		one.at = one.start + lengths[i%len(lengths)]
		all = append(all, one)
		records = append(records, start(one.id, newID(), one.start))
		if i%7 > 0 {
			records = append(records, end(one.id, one.at))
		}
	}
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	for batch := range slices.Chunk(records, 90) {
		c.mustStore(t, batch...)
	}
	for _, since := range []int{1, 600, 10_000, 10_200, 25_000, 30_000, 31_000, day, day + 20_000, 2 * day} {
		for _, filter := range []aibridgedserver.InterceptionFilter{
			{}, {Limit: 3}, {Limit: 200}, {Since: second(9_000).AsTime()}, {Since: second(29_000).AsTime()},
		} {
			filter.EndedSince = second(since).AsTime()
			var want []string
			for i, one := range all {
				if one.at >= since && i%7 > 0 && !second(one.start).AsTime().Before(filter.Since) {
					want = append(want, one.id)
				}
			}
			if filter.Limit > 0 {
				want = want[max(0, len(want)-filter.Limit):]
			}
			var got []string
			for _, i := range c.report(t, filter) {
				got = append(got, i.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("ended since %d, %+v: got %d interceptions, want %d", since, filter, len(got), len(want))
			}
		}
	}
}

// Each report finds its beginning by an index, and so does Prune. An empty database is enough to show that, since the
// engine chooses indexes without knowing how many rows there are.
func TestNothingScansATable(t *testing.T) {
	engine.SQLiteOnly(t)
	t.Parallel()
	c := newControlPlane(t)
	c.token(t, "alice")
	for name, test := range map[string]struct {
		filter aibridgedserver.InterceptionFilter
		index  string // The index of interceptions that the query must use.
	}{
		"all":              {aibridgedserver.InterceptionFilter{}, "interceptions_by_start"},
		"since":            {aibridgedserver.InterceptionFilter{Since: time.Now()}, "interceptions_by_start"},
		"user":             {aibridgedserver.InterceptionFilter{Username: "alice"}, "interceptions_by_initiator"},
		"id":               {aibridgedserver.InterceptionFilter{ID: newID()}, "PRIMARY KEY (id=?)"},
		"ended":            {aibridgedserver.InterceptionFilter{EndedSince: time.Now()}, "interceptions_by_start"},
		"a user and ended": {aibridgedserver.InterceptionFilter{Username: "alice", EndedSince: time.Now()}, "interceptions_by_initiator"},
	} {
		queries, err := c.ReportQueries(t.Context(), test.filter)
		if err != nil {
			t.Fatal(err)
		}
		for i, query := range queries {
			plan := c.plan(t, query)
			if name == "ended" && i == 2 && !strings.Contains(plan, "interceptions_long") {
				t.Errorf("the long ones: %s: %s", query.Text, plan)
			}
			if strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") || i < 2 && !strings.Contains(plan, test.index) {
				t.Errorf("%s: %s: %s", name, query.Text, plan)
			}
		}
	}
	for _, query := range aibridgedserver.PruneQueries() {
		if plan := c.plan(t, query); strings.Contains(plan, "SCAN") {
			t.Errorf("%s: %s", query.Text, plan)
		}
	}
}

// plan returns how the engine would run a query.
func (c controlPlane) plan(t *testing.T, query aibridgedserver.Query) string {
	t.Helper()
	rows, err := c.db.Reader.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+query.Text, query.Args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(steps, "; ")
}

// One interception that began long ago and ended just now does not make a report read all that began since.
func TestEndedSinceReadsNoMore(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	const day = 24 * 3600
	old := newID()
	c.mustStore(t, start(old, newID(), 0), end(old, 10*day))
	parts, err := c.ReportStarts(t.Context(), aibridgedserver.InterceptionFilter{EndedSince: second(10 * day).AsTime()})
	if want := second(10*day - 600).AsTime().UnixMicro(); err != nil || len(parts) != 2 || parts[1] != want {
		t.Errorf("it begins at %v, %v, want the second part to begin at %d", parts, err, want)
	}
	if got := c.report(t, aibridgedserver.InterceptionFilter{EndedSince: second(10 * day).AsTime()}); len(got) != 1 || got[0].ID != old {
		t.Errorf("got %v", got)
	}
}

// A list loads no text that it does not show.
func TestOutlines(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	id := newID()
	long := strings.Repeat("x", 1<<20)
	c.mustStore(t, start(id, newID(), 0), prompt(id, "Hello "+long, 1), tokens(id, 7, 2), tool(id, "grep", long, 3), thought(id, long, 4))
	for i, err := range c.Outlines(t.Context(), aibridgedserver.InterceptionFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(i)
		if err != nil || len(text) > 4<<10 {
			t.Errorf("an outline of %d bytes, %v", len(text), err)
		}
		if !strings.HasPrefix(i.Prompts[0].Prompt, "Hello ") || i.TokenUsages[0].InputTokens != 7 || i.ToolUsages[0].Tool != "grep" {
			t.Errorf("%s", text)
		}
	}
}

// A model's parallel tool calls have the same time: they are listed in the order in which they were recorded.
func TestChildrenAreInOrder(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	id := newID()
	c.mustStore(t, start(id, newID(), 0), tool(id, "late", "", 9), tool(id, "c", "", 5), tool(id, "a", "", 5),
		tool(id, "b", "", 5), tool(id, "early", "", 1))
	var got []string
	for _, call := range c.report(t, aibridgedserver.InterceptionFilter{})[0].ToolUsages {
		got = append(got, call.Tool)
	}
	if strings.Join(got, " ") != "early c a b late" {
		t.Errorf("got %v", got)
	}
}

// A caller that stops in the middle of a report, or is slow, holds nothing that others need.
func TestInterceptionsHoldsNothingBetweenPages(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	var records []*proto.Record
	for i := range 150 {
		records = append(records, start(newID(), newID(), i))
	}
	c.mustStore(t, records...)
	seen := 0
	for _, err := range c.Interceptions(t.Context(), aibridgedserver.InterceptionFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if used := c.db.Reader.Stats().InUse; used != 0 {
			t.Fatalf("%d connections in use", used)
		}
		if seen++; seen == 120 {
			break
		}
	}
	if seen != 120 {
		t.Errorf("saw %d", seen)
	}
}
