package reports_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/recordgen"
	"github.com/coder/aibridged/proto"
)

// grouped returns the interceptions of each session, by the names that the test gave them, the sessions in their order.
func (h house) grouped(t *testing.T, names map[string]string) string {
	t.Helper()
	page, err := h.Sessions(t.Context(), reports.Operator(), reports.SessionFilter{Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	var groups []string
	for _, s := range page.Sessions {
		timeline, err := h.Timeline(t.Context(), reports.Operator(), s.ID, "")
		if err != nil {
			t.Fatal(err)
		}
		var members []string
		for _, turn := range timeline.Turns {
			for _, step := range turn.Steps {
				members = append(members, names[step.InterceptionID])
			}
		}
		groups = append(groups, strings.Join(members, " "))
	}
	slices.Sort(groups)
	return strings.Join(groups, ", ")
}

// Interceptions belong together by the client's session, by the sessions of its sub-agents, or by the chain of tool calls.
func TestGrouping(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada, bob := h.user(t, "ada"), h.user(t, "bob")
	subAgent := func(id, parent string) func(*proto.RecordInterceptionRequest) {
		return func(start *proto.RecordInterceptionRequest) {
			start.Metadata = packed(t, map[string]any{"agent_id": id, "parent_agent_id": parent})
		}
	}
	otherClient := func(start *proto.RecordInterceptionRequest) { start.Client = "Cline" }
	shots := []struct {
		name string
		shot
	}{
		{"a1", shot{user: ada, session: "one"}},
		{"a2", shot{user: ada, session: "one", model: "claude-haiku-4-5"}},
		{"a3", shot{user: ada, session: "one", start: subAgent("agent-7", "")}},
		{"b1", shot{user: bob, session: "one"}}, // Another user's session of the same name.
		{"p1", shot{user: ada, session: "parent"}},
		{"p2", shot{user: ada, session: "child", start: subAgent("child", "parent")}},
		{"p3", shot{user: ada, session: "grandchild", start: subAgent("grandchild", "child")}},
		{"q1", shot{user: ada, session: "early child", start: subAgent("early child", "late parent")}},
		{"q2", shot{user: ada, session: "late parent"}},
		{"c1", shot{user: ada, calls: []string{"call-1", "call-2"}}},
		{"c2", shot{user: ada, answers: "call-2", calls: []string{"call-3"}}},
		{"c3", shot{user: ada, answers: "call-3"}},
		{"d1", shot{user: bob, answers: "call-3"}},                     // Another user's call of the same id.
		{"e1", shot{user: ada, answers: "call-3", start: otherClient}}, // Another client's.
		{"f1", shot{user: ada}},
		{"f2", shot{user: ada}},
	}
	names := map[string]string{}
	for i, s := range shots {
		s.id, s.at = newID(), noon.Add(time.Duration(i)*time.Second)
		names[s.id] = s.name
		h.store(t, s.records()...)
	}
	want := "a1 a2 a3, b1, c1 c2 c3, d1, e1, f1, f2, p1 p2 p3, q1 q2"
	if got := h.grouped(t, names); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The request that brings a result may be recorded before the call is, for example by another gateway.
func TestChainOutOfOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.user(t, "ada")
	first, second := shot{id: newID(), user: ada, calls: []string{"call-1"}}, shot{id: newID(), user: ada, answers: "call-1", at: noon.Add(time.Minute)}
	h.store(t, second.records()...)
	h.store(t, first.records()...)
	if got := h.grouped(t, map[string]string{first.id: "first", second.id: "second"}); got != "first second" {
		t.Errorf("got %s", got)
	}
}

// A server that numbers the calls of each answer does not join the sessions of several prompts.
func TestChainsOfNumberedCalls(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.user(t, "ada")
	names := map[string]string{}
	for n, s := range []shot{
		{prompt: "one", calls: []string{"call_0", "call_1"}}, {answers: "call_0", calls: []string{"call_0"}}, {answers: "call_0"},
		{prompt: "two", calls: []string{"call_0"}}, {answers: "call_0"},
		{prompt: "three", calls: []string{"call_0"}}, {answers: "call_0", calls: []string{"call_1"}}, {answers: "call_1"},
	} {
		s.id, s.user, s.at = newID(), ada, noon.Add(time.Duration(n)*time.Second)
		names[s.id] = fmt.Sprint(n)
		h.store(t, s.records()...)
		if n == 4 { // To derive the past anew changes nothing.
			if _, err := h.Reprice(t.Context(), time.Time{}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := h.grouped(t, names); got != "0 1 2, 3 4, 5 6 7" {
		t.Errorf("got %s", got)
	}
}

// Clients and users may have one id for several sessions, also one that looks like a number of ours, and sub-agents have others.
func TestFindSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada, bob := h.user(t, "ada"), h.user(t, "bob")
	codex := func(start *proto.RecordInterceptionRequest) { start.Client = "Codex" }
	child := func(start *proto.RecordInterceptionRequest) {
		start.Metadata = packed(t, map[string]any{"agent_id": "child", "parent_agent_id": "same"})
	}
	for n, s := range []shot{
		{user: ada, session: "same"}, {user: bob, session: "same"}, {user: ada, session: "same", start: codex}, {user: ada, session: "child", start: child},
		{user: ada, session: "0"}, {user: ada, session: "-1"}, {user: bob, session: "1"}, {user: bob, session: strings.Repeat("x", 1024)},
	} {
		s.at = noon.Add(time.Duration(n) * time.Minute)
		h.store(t, s.records()...)
	}
	root, adas, bobs := reports.Operator(), reports.Viewer{UserID: ada}, reports.Viewer{UserID: bob}
	for _, test := range []struct {
		who  reports.Viewer
		text string
		want string
	}{
		{root, "same", "[3 2 1]"}, {adas, "same", "[3 1]"}, {bobs, "same", "[2]"}, {root, "child", "[1]"}, {bobs, "child", "[]"}, {root, "0", "[4]"},
		{root, "-1", "[5]"}, {root, "1", "[1 6]"}, {bobs, "1", "[6]"}, {root, "2", "[2]"}, {root, "nothing\x00", "[]"}, {root, strings.Repeat("x", 1024), "[7]"},
		{reports.Viewer{}, "same", "[]"},
	} {
		found, err := h.FindSessions(t.Context(), test.who, test.text)
		ids := []int64{}
		for _, s := range found {
			ids = append(ids, s.ID)
		}
		if fmt.Sprint(ids) != test.want || (len(ids) == 0) != errors.Is(err, reports.ErrNotFound) {
			t.Errorf("%.10s: %v, %v, want %s", test.text, ids, err, test.want)
		}
	}
}

// The request that brings the result of a call brings those of all calls of that answer that the client runs.
func TestResultsOfParallelCalls(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.user(t, "ada")
	shots := []shot{
		{prompt: "go", calls: []string{"p1", "srvtoolu_1", "p2", ""}}, {prompt: "aside"}, {answers: "p2", calls: []string{"q1", "q2"}}, {answers: "p1"}, {answers: "q1"},
	}
	for i := range shots {
		s := &shots[i]
		s.id, s.user, s.session, s.at = newID(), ada, "s", noon.Add(time.Duration(i)*time.Minute)
		records := s.records()
		if i == 2 {
			records[3].GetToolUsage().Injected = true // q2.
		}
		h.store(t, records...)
	}
	timeline, err := h.Timeline(t.Context(), reports.Operator(), 1, "")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, turn := range timeline.Turns {
		for _, step := range turn.Steps {
			for _, call := range step.Calls {
				got[call.ID] = call.ResultStep
			}
		}
	}
	for call, want := range map[string]string{"p1": shots[2].id, "p2": shots[2].id, "srvtoolu_1": "", "": "", "q1": shots[4].id, "q2": ""} {
		if got[call] != want {
			t.Errorf("the result of %q is in %q, want %q", call, got[call], want)
		}
	}
}

// A timeline has a turn for each prompt of a person, and links each tool call with the request that brought its result.
func TestTimeline(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.user(t, "ada")
	shots := []shot{
		{prompt: "Generate a title for this conversation", model: "claude-haiku-4-5"},
		{prompt: "  Fix the\n\tparser  ", calls: []string{"call-1", "call-2"}},
		{answers: "call-2", calls: []string{"call-3"}},
		{prompt: "Look for parsers", start: func(start *proto.RecordInterceptionRequest) {
			start.Metadata = packed(t, map[string]any{"agent_id": "agent-7", "agent_kind": "search"})
		}},
		{answers: "call-3"},
		{prompt: "Thanks", errorType: "overloaded", unused: true},
	}
	for i := range shots {
		s := &shots[i]
		s.id, s.user, s.session, s.at = newID(), ada, "s", noon.Add(time.Duration(i)*time.Minute)
		records := s.records()
		if i == 0 {
			records[1].GetPromptUsage().Metadata = packed(t, map[string]any{"client_generated": true})
		}
		if i == 2 {
			records = append(records, &proto.Record{Record: &proto.Record_ModelThought{ModelThought: &proto.RecordModelThoughtRequest{
				InterceptionId: s.id, RecordId: newID(), Content: "Let me think.", CreatedAt: records[0].GetInterception().GetStartedAt(),
			}}})
		}
		h.store(t, records...)
	}
	id, err := h.FindSession(t.Context(), reports.Operator(), "s")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{shots[3].id, fmt.Sprint(id), "agent-7"} {
		if found, err := h.FindSession(t.Context(), reports.Operator(), text); err != nil || found != id {
			t.Errorf("%s: %d, %v", text, found, err)
		}
	}
	timeline, err := h.Timeline(t.Context(), reports.Operator(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	s := timeline.Session
	if s.Title != "Fix the parser" || s.User != "ada" || s.Requests != 6 || s.Errors != 1 || s.ToolCalls != 3 || len(s.Models) != 2 ||
		!s.LastAt.Equal(noon.Add(5*time.Minute+2*time.Second)) {
		t.Errorf("%+v", s)
	}
	var shape []string
	for _, turn := range timeline.Turns {
		shape = append(shape, fmt.Sprintf("%q %d", strings.Join(strings.Fields(turn.Prompt), " "), len(turn.Steps)))
	}
	if got := strings.Join(shape, ", "); got != `"" 1, "Fix the parser" 4, "Thanks" 1` {
		t.Fatalf("turns %s", got)
	}
	steps := timeline.Turns[1].Steps
	if steps[1].AnswersStep != shots[1].id || steps[0].Calls[1].ResultStep != shots[2].id || steps[0].Calls[0].ResultStep != shots[2].id ||
		steps[3].AnswersStep != shots[2].id {
		t.Errorf("links of %+v", steps)
	}
	if steps[2].AgentID != "agent-7" || steps[2].AgentKind != "search" || !steps[2].Generated || steps[1].Thoughts[0] != "Let me think." ||
		steps[0].Calls[0].Input != `{"command":"ls"}` || steps[0].USD.String() != "0.0075" || steps[0].FirstByte != 300 {
		t.Errorf("%+v", steps)
	}
	if last := timeline.Turns[2]; last.Steps[0].Outcome != "overloaded" || last.Errors != 1 || !last.USD.IsZero() {
		t.Errorf("%+v", last)
	}
}

// A long timeline comes in parts, and each interception is in one of them.
func TestLongTimeline(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.user(t, "ada")
	var records []*proto.Record
	for n := range 450 {
		s := shot{user: ada, session: "s", at: noon.Add(time.Duration(n/3) * time.Second)}
		if n%50 == 0 {
			s.prompt = strings.Repeat("é", 20<<10)
		}
		records = append(records, s.records()...)
	}
	for chunk := range slices.Chunk(records, 100) {
		h.store(t, chunk...)
	}
	seen := map[string]bool{}
	for after, parts := "", 0; parts == 0 || after != ""; parts++ {
		part, err := h.Timeline(t.Context(), reports.Operator(), 1, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, turn := range part.Turns {
			for _, step := range turn.Steps {
				if seen[step.InterceptionID] = true; step.Prompt != "" && (len([]rune(step.Prompt)) != 16<<10 || !step.IsCut) {
					t.Errorf("a prompt of %d characters", len([]rune(step.Prompt)))
				}
			}
		}
		if after = part.Next; parts > 3 {
			t.Fatal("it does not end")
		}
	}
	if len(seen) != 450 {
		t.Errorf("%d steps", len(seen))
	}
	if _, err := h.Timeline(t.Context(), reports.Operator(), 1, "nonsense"); err == nil {
		t.Error("a place that no page has given is accepted")
	}
}

// A list of sessions pages through all that a filter keeps, once each, whatever the filter.
func TestSessionFilters(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	users := []string{h.user(t, "ada"), h.user(t, "bob")}
	h.fill(t, recordgen.Options{Interceptions: 700, Users: users, From: noon.Add(-10 * 24 * time.Hour), To: noon, Seed: 9})
	h.digest(t)
	all := h.pages(t, reports.SessionFilter{Limit: 200})
	for name, filter := range map[string]reports.SessionFilter{
		"user": {UserID: users[0]}, "model": {Model: "gpt-5.4"}, "tool": {Tool: "Grep"}, "outcome": {Outcome: "overloaded"}, "client": {Client: "Cline"},
		"three": {Model: "claude-opus-4-8", Tool: "Bash", Client: "Claude Code"}, "user and tool": {UserID: users[1], Tool: "Edit"},
		"range": {Range: reports.Range{From: noon.Add(-5 * 24 * time.Hour), To: noon.Add(-4 * 24 * time.Hour)}},
		"words": {Text: "parser hand"}, "words, user and model": {Text: "ZÜRI", UserID: users[0], Model: "gpt-5.4"},
	} {
		filter.Limit = 7
		var got, want []int64
		for _, s := range h.pages(t, filter) {
			got = append(got, s.ID)
		}
		for _, s := range all {
			if h.keeps(t, filter, s) {
				want = append(want, s.ID)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || len(want) == 0 || len(want) == len(all) {
			t.Errorf("%s: %d sessions %v\nwant %d %v of %d", name, len(got), got, len(want), want, len(all))
		}
	}
	dearest, err := h.Sessions(t.Context(), reports.Operator(), reports.SessionFilter{Dearest: true, Limit: 20})
	if err != nil || len(dearest.Sessions) != 20 || !slices.IsSortedFunc(dearest.Sessions, func(a, b reports.Session) int { return b.USD.Cmp(a.USD) }) {
		t.Errorf("%v", err)
	}
}

// A page that examines few sessions is short, may be empty, and leads to the others: the list is the same.
func TestShortPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	users := []string{h.user(t, "ada"), h.user(t, "bob")}
	h.fill(t, recordgen.Options{Interceptions: 700, Users: users, From: noon.Add(-10 * 24 * time.Hour), To: noon, Seed: 10})
	h.digest(t)
	for name, filter := range map[string]reports.SessionFilter{
		"two": {Model: "claude-opus-4-8", Tool: "Bash"}, "never together": {Model: "gpt-5.4", Client: "Cline"}, "user and tool": {UserID: users[1], Tool: "Edit"},
	} {
		var want, got []int64
		for _, s := range h.pages(t, filter) {
			want = append(want, s.ID)
		}
		pages := 0
		for filter.Limit = 4; ; pages++ {
			page, err := h.Examining(t.Context(), filter, 3) // Fewer than a page has.
			if err != nil || len(page.Sessions) > 4 {
				t.Fatalf("%s: %d sessions, %v", name, len(page.Sessions), err)
			}
			for _, s := range page.Sessions {
				got = append(got, s.ID)
			}
			if filter.After = page.Next; filter.After == "" {
				break
			}
		}
		if !slices.Equal(got, want) || (len(want) == 0) != (name == "never together") || pages < 2 {
			t.Errorf("%s: %v on %d pages, want %v", name, got, pages, want)
		}
	}
}

// The dearest sessions are the same in whatever way they are found, and those of the list.
func TestDearest(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	users := []string{h.user(t, "ada"), h.user(t, "bob")}
	h.fill(t, recordgen.Options{Interceptions: 700, Users: users, From: noon.Add(-10 * 24 * time.Hour), To: noon, Seed: 11})
	h.digest(t)
	middle := reports.Range{From: noon.Add(-8 * 24 * time.Hour), To: noon.Add(-2 * 24 * time.Hour)}
	for name, filter := range map[string]reports.SessionFilter{
		"all": {}, "user": {UserID: users[0]}, "model": {Model: "gpt-5.4"}, "model and tool": {Model: "claude-opus-4-8", Tool: "Bash"},
		"user and client": {UserID: users[1], Client: "Codex"}, "never together": {Model: "gpt-5.4", Client: "Cline"},
	} {
		filter.Range = middle
		var want []int64
		listed := h.pages(t, filter)
		slices.SortStableFunc(listed, func(a, b reports.Session) int { return cmp.Or(b.USD.Cmp(a.USD), cmp.Compare(b.ID, a.ID)) })
		for _, s := range listed {
			want = append(want, s.ID)
		}
		filter.Dearest, filter.Limit = true, 5
		ways, err := h.DearestInAllWays(t.Context(), filter, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range append(ways, h.pages(t, filter)) {
			var got []int64
			for _, s := range way {
				got = append(got, s.ID)
			}
			if !slices.Equal(got, want) || (len(want) == 0) != (name == "never together") {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	}
}

// pages returns the sessions of all pages.
func (h house) pages(t *testing.T, filter reports.SessionFilter) (all []reports.Session) {
	t.Helper()
	for {
		page, err := h.Sessions(t.Context(), reports.Operator(), filter)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Sessions...)
		if filter.After = page.Next; filter.After == "" {
			return all
		}
	}
}

// keeps reports by its timeline whether a filter keeps a session.
func (h house) keeps(t *testing.T, f reports.SessionFilter, s reports.Session) bool {
	t.Helper()
	if f.UserID != "" && f.UserID != s.UserID || !f.Range.To.IsZero() && (s.StartedAt.Before(f.Range.From) || !s.StartedAt.Before(f.Range.To)) {
		return false
	}
	var model, tool, outcome, words bool
	for after := ""; ; {
		part, err := h.Timeline(t.Context(), reports.Operator(), s.ID, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, turn := range part.Turns {
			for _, step := range turn.Steps {
				model = model || step.Model == f.Model
				outcome = outcome || step.Outcome == f.Outcome
				tool = tool || slices.ContainsFunc(step.Calls, func(c reports.ToolCall) bool { return c.Tool == f.Tool })
				words = words || hasWords(step.Prompt, f.Text)
			}
		}
		if after = part.Next; after == "" {
			break
		}
	}
	return (f.Model == "" || model) && (f.Tool == "" || tool) && (f.Outcome == "" || outcome) && (f.Text == "" || words) &&
		(f.Client == "" || f.Client == s.Client)
}

// hasWords reports whether a prompt has words: the last one may be the beginning of one.
func hasWords(prompt, text string) bool {
	have, want := strings.Fields(strings.ToLower(prompt)), strings.Fields(strings.ToLower(text))
	for i, word := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return h == word || i == len(want)-1 && strings.HasPrefix(h, word) }) {
			return false
		}
	}
	return true
}

// Whatever is typed into the search is words, and what is recorded beyond its limits is stored all the same.
func TestSearch(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.user(t, "ada")
	for n, prompt := range []string{
		"Déjà vu in Zürich", "世界 hello", `SELECT "x" FROM NEAR (a, b)`, strings.Repeat("long ", 1<<18) + "tail", "\x01\x02 control", "C++ and f(x)=y",
	} {
		h.store(t, shot{user: ada, session: fmt.Sprint(n), prompt: prompt}.records()...)
	}
	for text, want := range map[string]int{
		"deja zurich": 1, "ZÜR": 1, "世界": 1, "hello missing": 0, `"x" NEAR(`: 1, `" OR "`: 0, "long": 1, "tail": 0, "*": 0, "''": 0, "-hello": 1,
		"prompt:hello": 0, "c++": 2, "f(x)": 1, "\x00": 0, strings.Repeat("word ", 10_000): 0, "hel": 1, "ello": 0,
	} {
		page, err := h.Sessions(t.Context(), reports.Operator(), reports.SessionFilter{Text: text})
		if err != nil || len(page.Sessions) != want {
			t.Errorf("%.20q: %d sessions, %v; want %d", text, len(page.Sessions), err, want)
		}
	}
}
