package aibridge_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/fakellm"
	"github.com/coder/aibridged/internal/wire"
)

// keepingProvider is a client of gateways in front of a provider that stores conversations, and insists on what the API
// insists on.
type keepingProvider struct {
	t        *testing.T
	upstream string
	shared   *store
	tools    *tools
	gateway  *aibridge.Conversations
	other    bool   // Each request is served by another gateway.
	user     string // Who asks; empty: who does in all tests.
}

func newKeepingProvider(t *testing.T) *keepingProvider {
	t.Helper()
	upstream := httptest.NewServer(fakellm.New(fakellm.Options{}))
	t.Cleanup(upstream.Close)
	p := &keepingProvider{t: t, upstream: upstream.URL, shared: &store{turns: map[string][]byte{}}}
	p.tools = &tools{names: []string{"bmcp_docs_x"}, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) { return found("ours"), nil }}
	p.gateway = aibridge.NewConversations(p.shared)
	return p
}

// ask sends a request with these members, and returns the response object that the client gets, or the error. What an answer
// says of the key is forgotten.
func (p *keepingProvider) ask(ctx context.Context, script, members string) gjson.Result {
	p.t.Helper()
	if p.other {
		p.gateway = aibridge.NewConversations(p.shared)
	}
	provider, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{Key: "key-0123456789", BaseURL: p.upstream + "/v1"})
	if err != nil {
		p.t.Fatal(err)
	}
	providers, err := aibridge.NewProviderSet(provider)
	if err != nil {
		p.t.Fatal(err)
	}
	options := aibridge.BridgeOptions{Tools: p.tools, Conversations: p.gateway, ToolLimits: aibridge.ToolLimits{Rounds: 2}}
	bridge := actingAs(cmp.Or(p.user, "ada"), aibridge.NewRequestBridge(providers, &kept{}, options))
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/o/v1/responses", strings.NewReader(`{"model":"m",`+members+`}`))
	r.Header.Set("X-Fakellm", script)
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if reason := recover(); reason != nil && reason != http.ErrAbortHandler {
				panic(reason)
			}
		}()
		bridge.ServeHTTP(w, r)
	}()
	body := w.Body.String()
	if strings.Contains(body, "bmcp_") {
		p.t.Errorf("the client sees a tool of the gateway: %s", body)
	}
	if !strings.Contains(members, `"stream":true`) {
		return gjson.Parse(body)
	}
	var last gjson.Result
	for line := range strings.Lines(body) {
		if data, ok := strings.CutPrefix(line, "data: "); ok && gjson.Get(data, "response.id").Exists() {
			last = gjson.Get(data, "response")
		}
	}
	return last
}

// TestConversationsOutliveEarlyEnds has answers that end early, in a conversation that the provider stores, or stored
// themselves. The provider insists on a result of each call, and on that only once: what comes next is answered, by the same
// gateway and by another one, with tools or without.
func TestConversationsOutliveEarlyEnds(t *testing.T) {
	const call = `[[tool: bmcp_* {"a":1}]]`
	for name, script := range map[string]string{
		"the limit of rounds":      strings.Repeat(call+"[[then]]", 9),
		"a later round is refused": call + `[[then]] [[error: 429]]`,
		"a later round is cut":     call + `[[then]] [[text: one two three]] [[cut]]`,
		"a later round fails":      call + `[[then]] [[text: one two three]] [[error-event: server_error]]`,
		"cut by its length":        call + `[[max-tokens]]`,
		"cut by its length, later": call + `[[then]]` + call + call + `[[max-tokens]]`,
		"the client leaves":        call,
		"nothing ends early":       call + `[[then]] [[text: done]]`,
	} {
		for _, by := range []string{"conversation", "response"} {
			for _, form := range []string{`"stream":true,`, ``} {
				for _, next := range []string{"", `"tool_choice":"none",`, "no tools"} {
					for _, other := range []bool{false, true} {
						t.Run(fmt.Sprintf("%s, %s, %s %s %v", name, by, form, next, other), func(t *testing.T) {
							p := newKeepingProvider(t)
							p.other = other
							chain := ""
							if by == "conversation" {
								chain = `"conversation":{"id":"conv_1"},`
							}
							ctx, leave := context.WithCancel(t.Context())
							defer leave()
							if name == "the client leaves" {
								p.tools.call = func(ctx context.Context, _ string, _ json.RawMessage) (mcp.Result, error) {
									leave()
									<-ctx.Done()
									return mcp.Result{}, context.Cause(ctx)
								}
							}
							first := p.ask(ctx, script, form+chain+`"input":"hi"`)
							id := first.Get("id").Str
							if by == "response" {
								if id == "" {
									return // The client knows no response.
								}
								chain = `"previous_response_id":"` + id + `",`
							}
							if next == "no tools" {
								p.tools.names = nil
							}
							members := form + chain + strings.ReplaceAll(next, "no tools", "")
							if got := p.ask(t.Context(), "[[error: 429]]", members+`"input":"more"`); got.Get("status").Str == "completed" {
								t.Errorf("got %s", got)
							}
							for n, input := range []string{`"more"`, `[{"role":"user","content":"more"}]`} {
								if got := p.ask(t.Context(), fmt.Sprintf("[[text: well %d]]", n), members+`"input":`+input); got.Get("status").Str != "completed" || got.Get("output.0.content.0.text").Str != fmt.Sprintf("well %d", n) {
									t.Errorf("%d: got %s", n, got)
								}
							}
						})
					}
				}
			}
		}
	}
}

// TestMixedTurnsInAConversation has a turn with a call of the client's in a conversation that the provider stores: the client
// sends its result alone.
func TestMixedTurnsInAConversation(t *testing.T) {
	p := newKeepingProvider(t)
	p.other = true
	const members = `"conversation":"conv_1","tools":[{"type":"function","name":"mine","parameters":{}}],`
	got := p.ask(t.Context(), "[[tool: mine]] [[tool: bmcp_*]] [[tool: mine]]", members+`"input":"hi"`)
	var results []string
	for _, id := range got.Get("output.#.call_id").Array() {
		results = append(results, `{"type":"function_call_output","call_id":"`+id.Str+`","output":"x"}`)
	}
	if len(results) != 2 {
		t.Fatalf("got %s", got)
	}
	for n, input := range []string{"[" + strings.Join(results, ",") + "]", `"more"`} {
		if got := p.ask(t.Context(), "[[then]] [[text: well]]", members+`"input":`+input); got.Get("status").Str != "completed" {
			t.Errorf("%d: got %s", n, got)
		}
	}
}

// TestRevoked has what a provider insists on, once it has it: it is over in the store, which is told that only then.
func TestRevoked(t *testing.T) {
	p := newKeepingProvider(t)
	turn := func() string {
		p.shared.mu.Lock()
		defer p.shared.mu.Unlock()
		for key, turn := range p.shared.turns {
			if strings.HasSuffix(key, " conversation:conv_1") {
				return string(turn)
			}
		}
		return ""
	}
	const members = `"conversation":"conv_1","input":"hi"`
	if p.ask(t.Context(), "[[text: a]]", members); turn() != "" {
		t.Errorf("kept %s", turn())
	}
	if p.ask(t.Context(), "[[tool: bmcp_*]] [[max-tokens]]", members); !strings.Contains(turn(), "call_") {
		t.Errorf("kept %s", turn())
	}
	if p.ask(t.Context(), "[[error: 500]]", members); !strings.Contains(turn(), "call_") {
		t.Errorf("kept %s", turn())
	}
	if p.ask(t.Context(), "[[text: a]]", members); turn() != "{}" {
		t.Errorf("kept %s", turn())
	}
}

// TestConversationMovesBetweenGateways has a conversation that two gateways serve by turns, each of which remembers what it was
// when it had it last.
func TestConversationMovesBetweenGateways(t *testing.T) {
	p := newKeepingProvider(t)
	gateways := []*aibridge.Conversations{aibridge.NewConversations(p.shared), aibridge.NewConversations(p.shared)}
	const early = "[[text: well]] [[tool: bmcp_*]] [[max-tokens]]"
	for n, step := range []struct {
		gateway int
		script  string
	}{
		{0, "[[text: well]]"}, {1, "[[text: well]]"}, {0, early}, {1, "[[text: well]]"}, {0, "[[text: well]]"}, {1, early}, {0, early}, {1, early},
		{1, "[[text: well]]"}, {0, "[[text: well]]"},
	} {
		p.gateway = gateways[step.gateway]
		if got := p.ask(t.Context(), step.script, `"conversation":"conv_1","input":"hi"`); got.Get("output.0.content.0.text").Str != "well" {
			t.Errorf("%d: got %s", n, got)
		}
	}
}

// TestKeptWhileToolsRun has a gateway that ends while a tool runs: what other gateways find by then does not say that the call
// was not run, since the model would make it again.
func TestKeptWhileToolsRun(t *testing.T) {
	for by, members := range map[string]string{"a conversation": `"conversation":"conv_1","input":"hi"`, "a stream": `"stream":true,"input":"hi"`} {
		p := newKeepingProvider(t)
		p.shared.told = make(chan aibridge.KeptTurn, 99)
		var found string
		p.tools.call = func(ctx context.Context, _ string, _ json.RawMessage) (mcp.Result, error) {
			for found == "" {
				if turn, ok := wire.DecodeTurn((<-p.shared.told).Turn); ok && len(turn.Rounds) > 0 {
					found = string(turn.Rounds[0].Results[0])
				}
			}
			return mcp.Result{}, errors.New("the process ends")
		}
		p.ask(t.Context(), "[[tool: bmcp_*]] [[then]] [[text: well]]", members)
		if !strings.Contains(found, wire.UnknownResult) {
			t.Errorf("%s: kept %s", by, found)
		}
	}
}

// TestKeptWhileTheProviderAnswers has a gateway that ends once a tool has run, while the provider works on the next round: other
// gateways find the result.
func TestKeptWhileTheProviderAnswers(t *testing.T) {
	for by, members := range map[string]string{"a conversation": `"conversation":"conv_1","input":"hi"`, "a stream": `"stream":true,"input":"hi"`} {
		p := newKeepingProvider(t)
		p.shared.told = make(chan aibridge.KeptTurn, 99)
		p.ask(t.Context(), "[[tool: bmcp_*]] [[then]] [[text: well]]", members)
		close(p.shared.told)
		found := 0
		for told := range p.shared.told {
			turn, ok := wire.DecodeTurn(told.Turn)
			if ok && len(turn.Open) > 0 && len(turn.Rounds) > 0 && strings.Contains(string(turn.Rounds[0].Results[0]), "ours") {
				found++
			}
		}
		if found == 0 {
			t.Errorf("%s: no result was kept before the provider had answered", by)
		}
	}
}

// actingAs returns a handler whose requests are a user's.
func actingAs(user string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(aibridge.AsActor(r.Context(), aibridge.Actor{ID: user})))
	})
}

// TestOthersGoOn has what one user has begun, and which ended in each way, gone on with by another one who knows the id, by the
// same gateway and by another one, and then by the first one again. The provider gets what it insists on, once, and the other user
// nothing of what the tools have said.
func TestOthersGoOn(t *testing.T) {
	const call = `[[tool: bmcp_* {"a":1}]]`
	for name, script := range map[string]string{
		"two rounds":        call + "[[then]] [[text: done]]",
		"cut by its length": call + "[[max-tokens]]",
		"a later one fails": call + "[[then]] [[error-event: server_error]]",
		"the limit":         strings.Repeat(call+"[[then]]", 9),
		"no call":           "[[text: done]]",
	} {
		for _, by := range []string{"conversation", "response"} {
			for _, other := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, %v", name, by, other), func(t *testing.T) {
					p := newKeepingProvider(t)
					p.other = other
					chain := ""
					if by == "conversation" {
						chain = `"conversation":"conv_0123456789abcdef0123",`
					}
					first := p.ask(t.Context(), script, `"stream":true,`+chain+`"input":"hi"`)
					if by == "response" {
						chain = `"previous_response_id":"` + first.Get("id").Str + `",`
					}
					for n, user := range []string{"bob", "", "bob", "eve", ""} {
						p.user = user
						if got := p.ask(t.Context(), fmt.Sprintf("[[text: well %d]]", n), chain+`"input":"more"`); got.Get("output.0.content.0.text").Str != fmt.Sprintf("well %d", n) {
							t.Fatalf("%d, %q: got %s", n, user, got)
						}
					}
					if by == "response" { // A conversation has a new end each time.
						return
					}
					p.user = "bob"
					p.ask(t.Context(), call+"[[max-tokens]]", chain+`"input":"again"`)
					for n, user := range []string{"", "bob"} {
						p.user = user
						if got := p.ask(t.Context(), "[[text: well]]", chain+`"input":"more"`); got.Get("output.0.content.0.text").Str != "well" {
							t.Errorf("after bob's call, %d: got %s", n, got)
						}
					}
				})
			}
		}
	}
}

// TestWhatEverybodyMayKnow looks at what is kept for all: it has no result and no call, and nothing is kept of an id that can be
// guessed.
func TestWhatEverybodyMayKnow(t *testing.T) {
	for conversation, isKept := range map[string]bool{"conv_0123456789abcdef0123": true, "conv_1": false} {
		p := newKeepingProvider(t)
		p.ask(t.Context(), `[[tool: bmcp_* {"secret":1}]] [[then]] [[tool: bmcp_* {"secret":2}]] [[max-tokens]]`, `"stream":true,"conversation":"`+conversation+`","input":"hi"`)
		found := false
		for key, turn := range p.shared.turns {
			if !strings.HasPrefix(key, "00000000-0000-0000-0000-000000000000 ") {
				continue
			}
			found = found || strings.Contains(key, "conversation:")
			decoded, _ := wire.DecodeTurn([]byte(turn))
			if len(decoded.Rounds) > 0 || len(decoded.Checks) > 0 || strings.Contains(string(turn), "ours") || !strings.HasSuffix(key, " o") {
				t.Errorf("%s: kept %s", key, turn)
			}
		}
		if found != isKept {
			t.Errorf("%s: kept for all: %v", conversation, found)
		}
	}
}
