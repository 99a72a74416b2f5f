package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/fakellm"
	"github.com/coder/aibridged/internal/fakemcp"
	"github.com/coder/aibridged/internal/kept"
)

// toolServer starts an MCP server with the tool search, which answers at once, and the tool wait, which says on called that it
// was called and then answers only once its caller has left. It returns the server's address.
func toolServer(t *testing.T) (url string, called <-chan struct{}) {
	t.Helper()
	calls := make(chan struct{}, 100)
	s := fakemcp.New(
		fakemcp.Tool{Name: "search", Results: []json.RawMessage{json.RawMessage(`{"content":[{"type":"text","text":"It is in cache.go."}]}`)}},
		fakemcp.Tool{Name: "wait", Run: func(ctx context.Context, _ json.RawMessage) (json.RawMessage, error) {
			calls <- struct{}{}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}},
	)
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	t.Cleanup(listening.CloseClientConnections)
	return listening.URL, calls
}

// ended is how an interception must have ended, and whether its client leaves while tools run.
type ended struct {
	errorType string
	rounds    int
	leaves    bool
}

// toolScripts returns scripts in which the model calls tools of the gateway, of which two rounds are allowed.
func toolScripts() map[string]ended {
	const call = `[[think: hm]] [[text: I look.]] [[tool: bmcp_docs_search {"q":"a"}]] [[usage: input=10 output=5 cache_read=3 cache_write=2]] [[then]] `
	return map[string]ended{
		call + `[[text: Done.]] [[usage: input=20 output=6]]`:                                                           {"", 2, false},
		call + `[[think: hm, hm]] [[tool: bmcp_docs_search {}]] [[tool: bmcp_docs_search {}]] [[then]] [[text: Done.]]`: {"", 3, false},
		call + `[[tool: list_files {"path":"."}]]`:                                                                      {"", 2, false},
		`[[tool: bmcp_docs_search {}]] [[tool: list_files {"path":"."}]]`:                                               {"", 1, false},
		`[[tool: list_files {"path":"."}]]`:                                                                             {"", 1, false},
		`[[tool: bmcp_docs_search {"q":"a long question"}]] [[max-tokens]]`:                                             {"", 1, false},
		call + `[[error: 529 Too much]]`:                                                                                {"overloaded", 2, false},
		call + `[[error: 403 Who?]]`:                                                                                    {"unauthorized", 2, false}, // After a 401, the key would rest.
		call + `[[error: 400 What?]]`:                                                                                   {"bad_request", 2, false},
		call + `[[text: some words to be read]] [[cut: after=3]]`:                                                       {"truncated", 2, false},
		call + `[[cut: after=0]]`:                                                                                       {"truncated", 2, false},
		call + `[[tool: bmcp_docs_search {}]] [[then]] ` + call + `[[text: Done.]]`:                                     {"unknown", 3, false}, // The limit of rounds.
		`[[text: I look.]] [[tool: bmcp_docs_wait {}]]`:                                                                 {"client_closed", 1, true},
		`[[tool: bmcp_docs_wait {}]] [[tool: list_files {}]]`:                                                           {"client_closed", 1, true},
		call + `[[tool: bmcp_docs_wait {}]]`:                                                                            {"client_closed", 2, true},
		`[[text: x]] [[tool: bmcp_nowhere_it {}]] [[then]] [[text: That was no tool.]]`:                                 {"", 2, false},
	}
}

// streamedScripts are like toolScripts, and for streams alone.
func streamedScripts() map[string]ended {
	const call = `[[text: I look.]] [[tool: bmcp_docs_search {"q":"a"}]] [[then]] `
	return map[string]ended{
		call + `[[text: some words to be read]] [[error-event: overloaded_error Too much after=3]]`: {"overloaded", 2, false},
		call + `[[text: some words to be read]] [[no-done]]`:                                        {"", 2, false}, // Only Chat ends so in good order.
	}
}

// TestVerifyTools has a gateway keep exchanges of several rounds, and verifies its records with them.
func TestVerifyTools(t *testing.T) {
	t.Parallel()
	url, called := toolServer(t)
	exchanges := t.TempDir()
	s := serveWith(t, "mcp_servers: [{id: docs, url: '"+url+"'}]\ntools: {rounds: 2}\n", "--keep-exchanges", exchanges)
	token := strings.TrimSpace(mustRun(t, "token", "create", "--user", "ada", "--data-dir", s.data))
	want := map[string]ended{} // By the prompt.
	say := func(format demoFormat, stream bool, script string, how ended) {
		if stream && how.errorType == "" && strings.Contains(script, "[[no-done]]") && format.name != "chat" {
			how.errorType = "truncated"
		}
		prompt := fmt.Sprintf("%s %t %s", format.name, stream, script)
		want[prompt] = how
		quoted, err := json.Marshal(prompt)
		if err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		if how.leaves {
			go func() {
				select {
				case <-called:
					leave()
				case <-ctx.Done():
				}
			}()
		}
		s.sayIn(ctx, t, token, spoken{path: format.path, body: fmt.Sprintf(format.body, stream, format.tools, quoted), leaveAfter: -1})
	}
	for _, format := range demoFormats() {
		for script, how := range toolScripts() {
			say(format, true, script, how)
			say(format, false, script, how)
		}
		for script, how := range streamedScripts() {
			say(format, true, script, how)
		}
	}
	for _, interception := range s.waitForEnds(t, len(want)) {
		prompt := interception.Prompts[0].Prompt
		rounds, injected := 0, 0
		for {
			if _, err := kept.ReadFile(exchanges, uuid.MustParse(interception.ID), rounds); err != nil {
				break
			}
			rounds++
		}
		for _, usage := range interception.ToolUsages {
			if usage.Injected != strings.HasPrefix(usage.Tool, "bmcp_") {
				t.Errorf("%s: recorded %+v", prompt, usage)
			}
			if usage.Injected {
				injected++
			}
		}
		if how := want[prompt]; orEmpty(interception.ErrorType) != how.errorType || rounds != how.rounds || rounds > 1 && injected == 0 {
			t.Errorf("%s:\nended with %q %q after %d rounds and %d injected calls, want %+v", prompt, orEmpty(interception.ErrorType),
				orEmpty(interception.ErrorMessage), rounds, injected, how)
		}
	}
	out, err := verified(t, s.data, exchanges)
	if sums := fmt.Sprintf("%d interceptions verified, 0 differ, 0 without kept bytes\n", len(want)); out != sums || err != nil {
		t.Fatalf("printed\n%swith %v, want %s", out, err, sums)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	age(t, exchanges)
	checkChangedRounds(t, s.data, exchanges, func(interception *aibridgedserver.Interception) ended { return want[interception.Prompts[0].Prompt] })
}

// checkChangedRounds changes the records of interceptions with calls of the gateway's tools: verify reports what it can tell.
func checkChangedRounds(t *testing.T, data, exchanges string, of func(*aibridgedserver.Interception) ended) {
	find := func(t *testing.T, how ended, calls int, last string) string {
		t.Helper()
		var id string
		err := withStore(t.Context(), settings{dataDir: data}, func(store *store) error {
			for interception, err := range store.Interceptions(t.Context(), aibridgedserver.InterceptionFilter{}) {
				if err != nil {
					return err
				}
				if of(interception) == how && len(interception.ToolUsages) == calls && interception.ToolUsages[calls-1].Tool == last {
					id = interception.ID
				}
			}
			return nil
		})
		if err != nil || id == "" {
			t.Fatalf("there is no such interception: %v", err)
		}
		return id
	}
	const its = ` WHERE interception_id = $1`
	for name, test := range map[string]struct {
		how    ended
		calls  int
		last   string // The tool that was called last; empty: the gateway's.
		change string
		want   string
	}{
		"not injected":               {ended{"", 3, false}, 3, "", `UPDATE tool_usages SET injected = 0` + its, `tool_usages\[0\].injected: recorded false, the bytes say true`},
		"one of two not injected":    {ended{"", 1, false}, 2, "list_files", `UPDATE tool_usages SET injected = 1` + its, `tool_usages\[1\].injected: recorded true, the bytes say false`},
		"the client's call":          {ended{"", 1, false}, 1, "list_files", `UPDATE tool_usages SET injected = 1` + its, `tool_usages\[0\].injected: recorded true, the bytes say false`},
		"usage of the first round":   {ended{"", 3, false}, 3, "", `DELETE FROM token_usages WHERE interception_id = $1 AND output_tokens = 5`, `token_usages: `},
		"usage counted twice":        {ended{"", 3, false}, 3, "", `UPDATE token_usages SET output_tokens = 11 WHERE interception_id = $1 AND output_tokens = 5`, `token_usages\[0\].output_tokens: recorded 11, the bytes say 5`},
		"a success":                  {ended{"unknown", 3, false}, 3, "", `UPDATE interceptions SET error_type = NULL WHERE id = $1`, `error_type: recorded "", the bytes say "truncated"`},
		"a success, its client left": {ended{"client_closed", 2, true}, 2, "bmcp_docs_wait", `UPDATE interceptions SET error_type = NULL WHERE id = $1`, `error_type: recorded "", the bytes say "truncated"`},
		"a refusal":                  {ended{"unknown", 3, false}, 3, "", `UPDATE interceptions SET error_type = 'rate_limited' WHERE id = $1`, `error_type: recorded "rate_limited", the bytes say "truncated"`},
		"an error that was none":     {ended{"", 3, false}, 3, "", `UPDATE interceptions SET error_type = 'client_closed' WHERE id = $1`, `error_type: recorded "client_closed", the bytes say ""`},
		"an error that was":          {ended{"overloaded", 2, false}, 1, "", `UPDATE interceptions SET error_type = NULL WHERE id = $1`, `error_type: recorded "", the bytes say "overloaded"`},
		"another tool":               {ended{"", 3, false}, 3, "", `UPDATE tool_usages SET tool = 'bmcp_docs_other'` + its, `tool_usages\[0\].tool: recorded "bmcp_docs_other", the bytes say "bmcp_docs_search"`},
	} {
		t.Run(name, func(t *testing.T) {
			id := find(t, test.how, test.calls, cmp.Or(test.last, "bmcp_docs_search"))
			out, err := verified(t, copyDatabase(t, data, id, test.change), exchanges)
			if err == nil || !regexp.MustCompile(`(?m)^`+id+` `+test.want).MatchString(out) || !strings.Contains(out, " 1 differ,") {
				t.Errorf("printed %swith %v, want %s", out, err, test.want)
			}
		})
	}
	t.Run("a round is missing", func(t *testing.T) {
		id := find(t, ended{"", 3, false}, 3, "bmcp_docs_search")
		path, _ := kept.Path(exchanges, uuid.MustParse(id), 2)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		out, err := verified(t, data, exchanges)
		if err == nil || !strings.Contains(out, id+" response_bytes: ") || !strings.Contains(out, " 1 differ,") {
			t.Errorf("printed %swith %v", out, err)
		}
	})
}

// TestVerifyToolTime has tools that take longer than all calls of a request may.
func TestVerifyToolTime(t *testing.T) {
	url, _ := toolServer(t)
	exchanges := t.TempDir()
	s := serveWith(t, "mcp_servers: [{id: docs, url: '"+url+"'}]\ntools: {total: 100ms}\n", "--keep-exchanges", exchanges)
	token := strings.TrimSpace(mustRun(t, "token", "create", "--user", "ada", "--data-dir", s.data))
	n := 0
	for _, format := range demoFormats() {
		for _, stream := range []bool{true, false} {
			s.say(t, token, spoken{path: format.path, body: fmt.Sprintf(format.body, stream, format.tools, `"[[tool: bmcp_docs_wait {}]]"`), leaveAfter: -1})
			n++
		}
	}
	for _, interception := range s.waitForEnds(t, n) {
		if orEmpty(interception.ErrorType) != "unknown" || !strings.Contains(orEmpty(interception.ErrorMessage), "100ms") {
			t.Errorf("ended with %q %q", orEmpty(interception.ErrorType), orEmpty(interception.ErrorMessage))
		}
	}
	out, err := verified(t, s.data, exchanges)
	if want := fmt.Sprintf("%d interceptions verified, 0 differ, 0 without kept bytes\n", n); out != want || err != nil {
		t.Errorf("printed\n%swith %v", out, err)
	}
}

// TestVerifyToolShutdown ends gateways while tools run, once the client has the beginning of a stream and before it has
// anything.
func TestVerifyToolShutdown(t *testing.T) {
	llm := httptest.NewServer(fakellm.New(fakellm.Options{}))
	defer llm.Close()
	url, called := toolServer(t)
	for _, stream := range []bool{true, false} {
		t.Run(fmt.Sprint(stream), func(t *testing.T) {
			s, exchanges := settings{dataDir: t.TempDir()}, t.TempDir()
			c := demoConfig(strings.TrimPrefix(llm.URL, "http://"))
			c.MCPServers = []mcpServerConfig{{ID: "docs", URL: url}}
			g, err := newGateway(t.Context(), s, c, gatewayOptions{observers: observerOptions{keepDir: exchanges, keepFor: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			front := httptest.NewServer(g.http.Handler)
			defer front.Close()
			token, _, err := g.plane.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "ada"})
			if err != nil {
				t.Fatal(err)
			}
			served := &served{base: front.URL}
			format := demoFormats()[0]
			said := make(chan struct{})
			go func() {
				defer close(said)
				served.say(t, token, spoken{
					path: format.path, body: fmt.Sprintf(format.body, stream, "[]", `"[[text: a]] [[tool: bmcp_docs_wait {}]]"`), leaveAfter: -1,
				})
			}()
			<-called
			now, cancel := context.WithCancel(t.Context())
			cancel()
			if err := g.close(now); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			<-said
			if g, err = newGateway(t.Context(), s, config{}, gatewayOptions{}); err != nil {
				t.Fatal(err)
			}
			recorded, err := waitForRecords(t.Context(), g.plane.store, 1)
			if err := errors.Join(err, g.close(t.Context())); err != nil {
				t.Fatal(err)
			}
			if orEmpty(recorded[0].ErrorType) != "truncated" {
				t.Errorf("recorded %q %q", orEmpty(recorded[0].ErrorType), orEmpty(recorded[0].ErrorMessage))
			}
			out, err := verified(t, s.dataDir, exchanges)
			if out != "1 interception verified, 0 differ, 0 without kept bytes\n" || err != nil {
				t.Errorf("printed %swith %v", out, err)
			}
		})
	}
}
