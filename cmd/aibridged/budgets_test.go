package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/visible"
)

// budgetWay is a way to ask that costs a dollar and a quarter. Its body has a place for stream.
type budgetWay struct{ path, body string }

// budgetWays are all four formats.
func budgetWays() map[string]budgetWay {
	return map[string]budgetWay{
		"messages":   {"/anthropic/v1/messages", `{"model":"claude-opus-4-5","max_tokens":64000,"stream":%t,"messages":[{"role":"user","content":"Hi [[usage: input=0 output=50000]]"}]}`},
		"chat":       {"/openai/v1/chat/completions", `{"model":"gpt-4o","max_tokens":16000,"stream":%t,"messages":[{"role":"user","content":"Hi [[usage: input=0 output=125000]]"}]}`},
		"responses":  {"/openai/v1/responses", `{"model":"gpt-4o","max_output_tokens":16000,"stream":%t,"input":"Hi [[usage: input=0 output=125000]]"}`},
		"embeddings": {"/vectors/v1/embeddings", `{"model":"text-embedding-3-small","stream":%t,"input":"Hi"}`},
	}
}

// newVectors returns an upstream that answers embeddings which cost a dollar and a quarter.
func newVectors(t *testing.T) string {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"object":"list","data":[],"model":"text-embedding-3-small","usage":{"prompt_tokens":62500000,"total_tokens":62500000}}`)
	}))
	t.Cleanup(upstream.Close)
	return upstream.URL
}

// answered is what a client got.
type answered struct {
	status int
	wait   time.Duration // Of Retry-After. Zero: it has none.
	body   string
}

// sends sends a request and returns what the client gets.
func (s *served) sends(t *testing.T, path, token, body string) (a answered) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+path, strings.NewReader(body))
	check(t, err)
	request.Header.Set("X-Api-Key", token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	check(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(t, err)
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	return answered{response.StatusCode, time.Duration(seconds) * time.Second, string(text)}
}

// becomesAllowed sends a request until it is let in, which a change of a budget makes it soon.
func (s *served) becomesAllowed(t *testing.T, path, token, body string) {
	t.Helper()
	awaitWithin(t, budgetsLook+10*soon, func() string {
		got := s.sends(t, path, token, body)
		return unless(got.status == 200, fmt.Sprintf("it is let in: %+v", got))
	})
}

// becomesRefused is the same the other way round.
func (s *served) becomesRefused(t *testing.T, path, token, body string) (got answered) {
	t.Helper()
	awaitWithin(t, budgetsLook+10*soon, func() string {
		got = s.sends(t, path, token, body)
		return unless(got.status != 200, "it is refused")
	})
	return got
}

// errorOf returns the type, the code and the message of an error in the shape of an API.
func errorOf(t *testing.T, body string) (kind, code, message string) {
	t.Helper()
	var e struct {
		Error struct{ Type, Code, Message string }
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Errorf("%v: %s", err, body)
	}
	return e.Error.Type, e.Error.Code, e.Error.Message
}

// Points 12 to 15, in all four formats, streamed and not: a user spends a budget, gets a 429 with Retry-After up to its renewal and an
// error of the API, and is let in again when the limit is raised. What is spent is what usage tells. Who has no budget goes on.
func TestBudgetIsSpentEndToEnd(t *testing.T) {
	s := serveWith(t, "- {name: vectors, type: openai, base_url: '"+newVectors(t)+"/v1', keys: ['${TEST_KEY}']}\nbudgets: {zone: Asia/Kathmandu}\n")
	other := strings.TrimSpace(s.must(t, "", "token", "create", "--user", "bob"))
	t.Run("ways", func(t *testing.T) {
		for format, way := range budgetWays() {
			for _, stream := range []bool{false, true} {
				if stream && format == "embeddings" {
					continue
				}
				t.Run(fmt.Sprintf("%s-%t", format, stream), func(t *testing.T) {
					t.Parallel()
					s.checkSpending(t, format, way, stream, other)
				})
			}
		}
	})
	if _, metrics := s.get(t, "/metrics"); !strings.Contains(metrics, `aibridged_admission_refusals_total{limit="budget_spent"}`) || !strings.Contains(metrics, `aibridged_budgets{state="spent"} 0`) {
		t.Errorf("%s", metrics)
	}
}

// checkSpending has a user spend a budget in one way. Other is the token of somebody without one.
func (s *served) checkSpending(t *testing.T, format string, way budgetWay, stream bool, other string) {
	name := fmt.Sprintf("%s-%t", format, stream)
	token, body := strings.TrimSpace(s.must(t, "", "token", "create", "--user", name)), fmt.Sprintf(way.body, stream)
	if format == "embeddings" {
		body = strings.Replace(body, `"stream":false,`, "", 1)
	}
	s.must(t, "", "budget", "set", "--user", name, "--limit", "1.20", "--per", "month")
	got := s.becomesRefused(t, way.path, token, body) // The first one may cost more than the limit.
	kind, code, message := errorOf(t, got.body)
	wantKind, wantCode := "insufficient_quota", "insufficient_quota"
	if format == "messages" {
		wantKind, wantCode = "rate_limit_error", ""
	}
	if got.status != 429 || kind != wantKind || code != wantCode || got.wait < 61*time.Second || got.wait > 31*24*time.Hour {
		t.Errorf("%+v", got)
	}
	for _, want := range []string{`the budget of user "` + name + `" is spent: spent $`, ", held $0.00, limit $1.20 this month; ", "-01 00:00 +05:45 (Asia/Kathmandu)"} {
		if !strings.Contains(message, want) {
			t.Errorf("%q, without %q", message, want)
		}
	}
	if got := s.sends(t, way.path, other, body); got.status != 200 {
		t.Errorf("who has no budget got %+v", got)
	}
	if got := s.sends(t, "/anthropic/v1/messages/count_tokens", token, fmt.Sprintf(budgetWays()["messages"].body, false)); got.status != 200 {
		t.Errorf("count_tokens got %+v", got)
	}
	s.must(t, "", "budget", "set", "--user", name, "--limit", "1000", "--per", "week")
	s.becomesAllowed(t, way.path, token, body)
	s.must(t, "", "budget", "set", "--user", name, "--limit", "2", "--per", "day") // What was spent stays.
	s.becomesRefused(t, way.path, token, body)
	s.must(t, "", "budget", "remove", "--user", name)
	s.becomesAllowed(t, way.path, token, body)
}

// At rest nothing is held: what ended requests cost waits until it is among the costs, and then is gone, with nobody asking.
func TestNothingIsHeldAtRest(t *testing.T) {
	t.Parallel()
	s := serveWith(t, "")
	way, token := budgetWays()["messages"], newToken(t, s.data)
	s.must(t, "", "budget", "set", "--user", "ada", "--limit", "100", "--per", "month")
	await(t, func() string {
		return unless(strings.Contains(s.metrics(t), `aibridged_budgets{state="below"} 1`), "the budget is known")
	})
	if got := s.sends(t, way.path, token, fmt.Sprintf(way.body, true)); got.status != 200 {
		t.Fatal(got)
	}
	if metrics := s.metrics(t); !strings.Contains(metrics, "aibridged_budgets_held_usd 0\n") {
		t.Errorf("%s", metrics)
	}
	awaitWithin(t, 3*digestEvery+10*soon, func() string {
		metrics := s.metrics(t)
		return unless(strings.Contains(metrics, "aibridged_budgets_waiting_usd 0\n"), "what was spent is counted:\n"+metrics)
	})
	if out := s.must(t, "", "budget", "list"); !strings.Contains(out, "user ada  $100.00  month  $1.2500  1 %") {
		t.Errorf("%s", out)
	}
}

// Point 13: while a request runs that may cost all that is left, another one is refused as held, for a minute at most. Point 14: a
// model without a price is refused for who has a budget, one that is free is not.
func TestBudgetIsHeldEndToEnd(t *testing.T) {
	t.Parallel()
	upstream := newCannedUpstream(t)
	s := serveWith(t, "- {name: main, type: anthropic, base_url: '"+upstream.URL+"', keys: ['${TEST_KEY}']}\nprices:\n- {model: own, input: 0, output: 0}\n")
	token := newToken(t, s.data)
	s.must(t, "", "user", "group", "set", "ada", "red")
	s.must(t, "", "budget", "set", "--group", "red", "--limit", "1.60", "--per", "week")
	body := `{"model":"claude-opus-4-5","max_tokens":64000,"messages":[{"role":"user","content":"Hello"}]}`
	unpriced := s.becomesRefused(t, "/main/v1/messages", token, strings.Replace(body, "claude-opus-4-5", "nobody-knows", 1))
	if _, _, message := errorOf(t, unpriced.body); unpriced.status != 429 || unpriced.wait < 61*time.Second || !strings.Contains(message, `the model "nobody-knows" has no known price`) ||
		!strings.Contains(message, "`prices:`") || !strings.Contains(message, `group "red"`) {
		t.Errorf("%+v", unpriced)
	}
	if got := s.sends(t, "/main/v1/messages", token, strings.Replace(body, "claude-opus-4-5", "own", 1)); got.status != 200 {
		t.Errorf("a free model: %+v", got)
	}
	waiting := make(chan answered)
	go func() { waiting <- s.sends(t, "/main/v1/messages", token, strings.Replace(body, "Hello", "wait", 1)) }()
	<-upstream.arrived
	for _, stream := range []string{"", `"stream":true,`} {
		held := s.sends(t, "/main/v1/messages", token, strings.Replace(body, "{", "{"+stream, 1))
		kind, _, message := errorOf(t, held.body)
		if held.status != 429 || kind != "rate_limit_error" || held.wait < 5*time.Second || held.wait > time.Minute ||
			!strings.Contains(message, `the budget of group "red" is held for requests that are running: spent $0.00, held $1.60`) {
			t.Errorf("%+v", held)
		}
	}
	close(upstream.release)
	if got := <-waiting; got.status != 200 {
		t.Errorf("%+v", got)
	}
	if got := s.sends(t, "/main/v1/messages", token, body); got.status != 200 {
		t.Errorf("when nothing runs: %+v", got)
	}
}

// Point 13: of 64 clients at a time, as many are let in as may be served by what is left, and the others are told to wait.
func TestBudgetOf64Clients(t *testing.T) {
	const clients, limit = 64, 10 // Each may cost 1.60 dollars, and a little for its prompt.
	upstream := newCannedUpstream(t)
	s := serveWith(t, "- {name: main, type: anthropic, base_url: '"+upstream.URL+"', keys: ['${TEST_KEY}']}\n")
	token := newToken(t, s.data)
	s.must(t, "", "budget", "set", "--user", "ada", "--limit", strconv.Itoa(limit), "--per", "day")
	const body = `{"model":"claude-opus-4-5","max_tokens":64000,"messages":[{"role":"user","content":"Hello"}]}`
	s.becomesRefused(t, "/main/v1/messages", token, strings.Replace(body, "claude-opus-4-5", "nobody-knows", 1)) // Now it is known.
	answers := make(chan answered, clients)
	for range clients {
		go func() { answers <- s.sends(t, "/main/v1/messages", token, strings.Replace(body, "Hello", "wait", 1)) }()
	}
	let := limit * 10 / 16
	for range clients - let {
		got := <-answers
		if kind, _, message := errorOf(t, got.body); got.status != 429 || kind != "rate_limit_error" || got.wait > time.Minute || !strings.Contains(message, "is held for requests that are running") {
			t.Errorf("%+v", got)
		}
	}
	for range let {
		<-upstream.arrived
	}
	close(upstream.release)
	for range let {
		if got := <-answers; got.status != 200 {
			t.Errorf("%+v", got)
		}
	}
	if metrics := s.metrics(t); !strings.Contains(metrics, "aibridged_budgets_held_usd 0\n") ||
		!strings.Contains(metrics, fmt.Sprintf(`aibridged_admission_refusals_total{limit="budget_held"} %d`, clients-let)) {
		t.Errorf("%s", metrics)
	}
}

func TestBudgetCommands(t *testing.T) {
	t.Parallel()
	onEachEngine(t, checkBudgetCommands)
}

func checkBudgetCommands(t *testing.T, s settings) {
	spent(t, s)
	budgets := func(args ...string) (string, error) {
		t.Helper()
		out, _, err := s.run(t, append([]string{"budget"}, args...)...)
		return out, err
	}
	for want, args := range map[string][]string{
		"whose budget: name one with --user or --group":        {"set", "--limit", "5", "--per", "day"},
		"--user and --group are two budgets":                   {"set", "--user", "ada", "--group", "red", "--limit", "5", "--per", "day"},
		"no user has this name; `aibridged token list`":        {"set", "--user", "nobody", "--limit", "5", "--per", "day"},
		`--limit "5,00" is no amount: write USD`:               {"set", "--user", "ada", "--limit", "5,00", "--per", "day"},
		`--limit "-5" is no amount`:                            {"set", "--user", "ada", "--limit=-5", "--per", "day"},
		`--limit "1e3" is no amount`:                           {"set", "--user", "ada", "--limit", "1e3", "--per", "day"},
		"--limit must be above 0":                              {"set", "--user", "ada", "--limit", "0.00", "--per", "day"},
		"--limit is missing":                                   {"set", "--user", "ada", "--per", "day"},
		"--limit is more than nine million dollars":            {"set", "--user", "ada", "--limit", "9000000.01", "--per", "day"},
		`"0.0000000000001" has more than twelve digits`:        {"set", "--user", "ada", "--limit", "0.0000000000001", "--per", "day"},
		"--limit must be a cent":                               {"set", "--user", "ada", "--limit", "0.009", "--per", "day"},
		`--per is "year": use day, week or month`:              {"set", "--user", "ada", "--limit", "5", "--per", "year"},
		`--per is "": use day, week or month`:                  {"set", "--user", "ada", "--limit", "5"},
		"it has no budget":                                     {"remove", "--user", "ada"},
		"remove the budget of user \"nobody\": no user has":    {"remove", "--user", "nobody"},
		"--csv and --json are two forms":                       {"list", "--csv", "--json"},
		`--user "nobody": no user has this name`:               {"list", "--user", "nobody"},
		"username begins or ends with a blank, or holds contr": {"set", "--group", "re\x1bd", "--limit", "5", "--per", "day"},
	} {
		if out, err := budgets(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v, want %s", args, out, err, want)
		}
	}
	hostile := "=1+1 \u202e@x"
	for _, args := range [][]string{
		{"--user", "ada", "--limit", "0.01", "--per", "month"}, {"--group", "red", "--limit", "9000000", "--per", "week"}, {"--group", hostile, "--limit", "12.5", "--per", "day"},
	} {
		if out, err := budgets(append([]string{"set"}, args...)...); err != nil || !strings.Contains(out, " may spend $") || strings.ContainsRune(out, '\u202e') {
			t.Errorf("%q: %q, %v", args, out, err)
		}
	}
	out, err := budgets("list")
	if lines := strings.Split(out, "\n"); err != nil || len(lines) != 5 || !strings.HasPrefix(lines[0], "WHOSE ") || !strings.HasPrefix(lines[1], "user ada") ||
		!strings.Contains(lines[1], " UTC") || strings.ContainsRune(out, '\u202e') || !strings.Contains(out, "$9000000.00") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = budgets("list", "--csv"); err != nil {
		t.Error(err)
	}
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 4 || rows[0][0] != "kind" {
		t.Fatalf("%v, %q", err, out)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t") || strings.ContainsFunc(cell, visible.IsHidden) {
				t.Errorf("a cell is %q", cell)
			}
		}
	}
	if out, err = budgets("list", "--json", "--user", "ada"); err != nil {
		t.Error(err)
	}
	var row struct {
		Kind, Name, Period, Zone string
		Limit                    string  `json:"limit_usd"`
		Spent                    string  `json:"spent_usd"`
		Share                    float64 `json:"share"`
		To                       time.Time
	}
	if err := json.Unmarshal([]byte(out), &row); err != nil || row.Kind != "user" || row.Name != "ada" || row.Limit != "0.01" || row.Share < 1 || row.Period != "month" ||
		row.Zone != "UTC" || time.Until(row.To) < 0 {
		t.Errorf("%v, %s", err, out)
	}
	if _, err := budgets("remove", "--group", "red"); err != nil {
		t.Error(err)
	}
	if out, err := budgets("list"); err != nil || strings.Contains(out, "group red") {
		t.Errorf("%v\n%s", err, out)
	}
}
