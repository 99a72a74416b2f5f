package aibridge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// accounts is an upstream whose accounts know only what they have made themselves. Key A is of the account x, and keys B and C
// are of y: see ofTwoAccounts.
type accounts struct {
	made    int
	missing said // What an account answers that does not know what a request continues.
}

func ofTwoAccounts() []Key { return []Key{{keyA, "x"}, {keyB, "y"}, {keyC, "y"}} }

func accountOf(key string) string {
	if key == keyA {
		return "x"
	}
	return "y"
}

// answer answers by what a request says that it continues: the names of things end in the account that has made them.
func (a *accounts) answer(key string, r *http.Request, body string) said {
	account := accountOf(key)
	for _, other := range []string{"x", "y"} {
		if of := "_of_" + other; other != account && (strings.Contains(r.URL.Path, of) || strings.Contains(body, of)) {
			return a.missing
		}
	}
	a.made++
	id := fmt.Sprintf("%d_of_%s", a.made, account)
	response := `{"id":"resp_` + id + `","object":"response","model":"gpt-x","status":"completed","output":[{"type":"reasoning","id":"rs_` + id +
		`","summary":[],"encrypted_content":"gAAA` + id + `=="}],"usage":{"input_tokens":3,"output_tokens":1}}`
	switch {
	case strings.HasSuffix(r.URL.Path, "/conversations"), strings.HasSuffix(r.URL.Path, "/files"):
		return said{status: 200, body: `{ "object":"thing","id" : "made_` + id + `"}`}
	case strings.Contains(body, `"stream":true`):
		return said{status: 200, header: http.Header{"Content-Type": {"text/event-stream"}}, body: "data: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_" + id + "\",\"output\":[]}}\n\n" +
			"data: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"reasoning\",\"id\":\"rs_" + id + "\",\"summary\":[],\"encrypted_content\":\"gAAA" + id + "==\"}}\n\n" +
			"data: {\"type\":\"response.completed\",\"response\":" + response + "}\n\n"}
	case strings.HasSuffix(r.URL.Path, "/responses"), strings.HasSuffix(r.URL.Path, "/compact"):
		return said{status: 200, body: response}
	}
	return said{status: 200, body: `{"object":"seen"}`}
}

func newAccounts(t *testing.T, missing said) *resilient {
	t.Helper()
	a := &accounts{missing: missing}
	var b *resilient
	b = newResilient(t, ProviderOptions{Keys: ofTwoAccounts(), Passthrough: []string{"GET /v1/files/", "POST /v1/files"}}, func(key string, r *http.Request) said {
		b.up.mu.Lock()
		defer b.up.mu.Unlock()
		_, body, _ := strings.Cut(b.up.asked[len(b.up.asked)-1], " ")
		return a.answer(key, r, body)
	})
	return b
}

// made returns the names in an answer that say of which account they are.
func made(t *testing.T, text, prefix string) string {
	t.Helper()
	at := strings.Index(text, prefix)
	if at < 0 {
		t.Fatalf("no %s in %s", prefix, text)
	}
	end := at + strings.Index(text[at:], "_of_") + len("_of_x")
	if prefix == "gAAA" {
		end += len("==")
	}
	return text[at:end]
}

const responsesRoute = "POST /openai/v1/responses"

// continuations are the ways in which a request can name what an answer has made, by the prefix of its name.
func continuations() map[string]struct{ prefix, target, body string } {
	return map[string]struct{ prefix, target, body string }{
		"encrypted":            {"gAAA", responsesRoute, `{"model":"gpt-x","input":[{"type":"reasoning","encrypted_content":"%s"}]}`},
		"encrypted, escaped":   {"gAAA", responsesRoute, `{"model":"gpt-x","input":[{"type":"reasoning", "encrypted_content" : "\u0067AAA%[2]s"}]}`},
		"encrypted, compacted": {"gAAA", "POST /openai/v1/responses/compact", `{"model":"gpt-x","input":[{"type":"reasoning","encrypted_content":"old"},{"type":"compaction","encrypted_content":"%s"}]}`},
		"encrypted, counted":   {"gAAA", "POST /openai/v1/responses/input_tokens", `{"model":"gpt-x","input":[{"type":"reasoning","encrypted_content":"%s"},{"encrypted_content":null},{"encrypted_content":""}]}`},
		"a response":           {"resp_", responsesRoute, `{"model":"gpt-x","input":"Go on","previous_response_id":"%s"}`},
		"a response, escaped":  {"resp_", responsesRoute, `{"model":"gpt-x","input":"Go on","previous_response_id":"\u0072esp_%[2]s"}`},
		"a response, counted":  {"resp_", "POST /openai/v1/responses/input_tokens", `{"model":"gpt-x","previous_response_id":"%s"}`},
		"a response, shown":    {"resp_", "GET /openai/v1/responses/%s", ""},
		"a path with escapes":  {"resp_", "GET /openai/v1/responses/resp%%5F%[2]s", ""},
		"a path that cancels":  {"resp_", "POST /openai/v1/responses/%s/cancel", ""},
	}
}

// goOn returns the target and the body that continue what has a name.
func goOn(c struct{ prefix, target, body string }, name string) (target, body string) {
	write := func(format string) string {
		if !strings.Contains(format, "%") {
			return format
		}
		return strings.TrimSuffix(fmt.Sprintf(format+"%[3]s", name, strings.TrimPrefix(name, c.prefix), ""), "")
	}
	return write(c.target), write(c.body)
}

// TestStaysOnItsAccount checks that what an answer has made is continued with the account that made it, without a session, on
// recorded routes and on those that are passed through, whether the answer was a stream or not.
func TestStaysOnItsAccount(t *testing.T) {
	for name, c := range continuations() {
		for _, stream := range []string{"", `"stream":true,`} {
			b := newAccounts(t, said{status: 400, body: `{"error":{"message":"no"}}`})
			for round := range 6 {
				w := b.send(responsesRoute, `{`+stream+`"model":"gpt-x","input":"Hi","store":false}`)
				first := accountOf(b.up.keys())
				target, body := goOn(c, made(t, w.Body.String(), c.prefix))
				for range 3 {
					if w := b.send(target, body); w.Code != 200 {
						t.Fatalf("%s, stream %t: status %d", name, stream != "", w.Code)
					}
					if got := b.up.keys(); accountOf(got) != first || strings.Contains(got, " ") {
						t.Fatalf("%s, stream %t, round %d: made by %s, continued with %s", name, stream != "", round, first, got)
					}
				}
			}
		}
	}
}

// TestThingsThatAreMade checks that the account is learnt of what a passed-through request makes.
func TestThingsThatAreMade(t *testing.T) {
	for name, c := range map[string]struct{ makes, goesOn, body string }{
		"a conversation":             {"POST /openai/v1/conversations", "GET /openai/v1/conversations/%s/items", ""},
		"a conversation in a body":   {"POST /openai/v1/conversations", responsesRoute, `{"model":"gpt-x","input":"Hi","conversation":{"id":"%s"}}`},
		"a file on an opened route":  {"POST /openai/v1/files", "GET /openai/v1/files/%s/content", ""},
		"a file, with an escaped id": {"POST /openai/v1/files", "GET /openai/v1/files/made%%5F%[2]s", ""},
	} {
		b := newAccounts(t, said{status: 404})
		for range 6 {
			w := b.send(c.makes, `{}`, "Accept-Encoding", "gzip")
			first := accountOf(b.up.keys())
			target, body := goOn(struct{ prefix, target, body string }{"made_", c.goesOn, c.body}, made(t, w.Body.String(), "made_"))
			for range 3 {
				if w := b.send(target, body); w.Code != 200 {
					t.Fatalf("%s: status %d", name, w.Code)
				}
				if got := b.up.keys(); accountOf(got) != first || strings.Contains(got, " ") {
					t.Fatalf("%s: made by %s, continued with %s", name, first, got)
				}
			}
		}
	}
}

// TestFindsItsAccount checks that what the gateway does not know, for example after a new start, is looked for in the other
// accounts if one says that it does not know it, and is known from then on; and that no refusal binds it to the account that
// has refused.
func TestFindsItsAccount(t *testing.T) {
	for kind, missing := range map[string]said{
		"not found": {status: 404, body: `{"error":{"message":"not found"}}`},
		"response":  {status: 400, body: `{"error":{"message":"Previous response with id 'x' not found.","code":"previous_response_not_found"}}`},
		"encrypted": {status: 400, body: `{"error":{"message":"The encrypted content gAAA could not be verified.","code":"invalid_encrypted_content"}}`},
	} {
		for name, c := range continuations() {
			for _, account := range []string{"x", "y"} {
				b := newAccounts(t, missing)
				target, body := goOn(c, c.prefix+"9_of_"+account)
				for i := range 4 {
					w := b.send(target, body)
					asked := strings.Fields(b.up.keys())
					if last := asked[len(asked)-1]; w.Code != 200 || accountOf(last) != account || i > 0 && len(asked) > 1 {
						t.Fatalf("%s, %s of %s: status %d, asked with %v", name, kind, account, w.Code, asked)
					}
				}
			}
		}
	}
	// Reports of another kind are not about the account.
	for _, missing := range []said{{status: 400, body: `{"error":{"message":"bad"}}`}, {status: 403}, {status: 500}, {status: 409}} {
		b := newAccounts(t, missing)
		target, body := goOn(continuations()["a response"], "resp_9_of_y")
		if w := b.send(target, body); w.Code != missing.status || b.up.keys() != keyA {
			t.Errorf("%d: status %d", missing.status, w.Code)
		}
		b.send(responsesRoute, `{"model":"gpt-x","input":"Hi"}`)
		b.up.keys()
		b.send(responsesRoute, `{"model":"gpt-x","input":"Hi"}`)
		b.up.keys()
		isFound := false
		for range 6 {
			isFound = b.send(target, body).Code == 200 || isFound
		}
		if !isFound {
			t.Errorf("%d: the refusal has bound it to the account that refused", missing.status)
		}
	}
}

// TestNobodyKnowsIt checks that the client gets the last account's answer if none knows what a request continues, that an
// account is asked once, with one of its keys, and that what is continued nowhere is not looked for.
func TestNobodyKnowsIt(t *testing.T) {
	missing := said{status: 404, body: `{"error":{"message":"not found"}}`}
	b := newResilient(t, ProviderOptions{Keys: ofTwoAccounts()}, func(string, *http.Request) said { return missing })
	for name, c := range continuations() {
		target, body := goOn(c, c.prefix+"9_of_z")
		w := b.send(target, body)
		asked := strings.Fields(b.up.keys())
		if w.Code != 404 || w.Body.String() != missing.body || len(asked) != 2 || accountOf(asked[0]) == accountOf(asked[1]) {
			t.Errorf("%s: status %d, asked with %v", name, w.Code, asked)
		}
	}
	for _, target := range []string{responsesRoute, "GET /openai/v1/models/gpt-x", "GET /openai/v1/models", "POST /anthropic/v1/messages/count_tokens"} {
		if b.send(target, `{"model":"gpt-x","input":"\"encrypted_content\":\"x\""}`); strings.Contains(b.up.keys(), " ") {
			t.Errorf("%s was sent to another account", target)
		}
	}
	many := make([]Key, 20)
	for i := range many {
		many[i].Secret = fmt.Sprintf("key-%02d-0123456789-0123456789", i)
	}
	b = newResilient(t, ProviderOptions{Keys: many}, func(string, *http.Request) said { return missing })
	if b.send("GET /openai/v1/responses/resp_1", ""); len(strings.Fields(b.up.keys())) != 8 {
		t.Error("the accounts that are asked are not bounded")
	}
}

// TestTheModelsOfPathsAreNoIDs checks that the name of a model in a path binds nothing to an account.
func TestTheModelsOfPathsAreNoIDs(t *testing.T) {
	options := ProviderOptions{Keys: ofTwoAccounts(), BaseURL: "https://bedrock.example"}
	b := newResilient(t, options, nil)
	options.Transport = b.up
	provider, err := NewBedrockProvider("bedrock", options)
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewProviderSet(provider)
	if err != nil {
		t.Fatal(err)
	}
	b.RequestBridge = NewRequestBridge(set, &b.ends, BridgeOptions{})
	limited := map[string]bool{}
	b.up.answer = func(key string, _ *http.Request) said {
		if limited[key] {
			return said{status: 429}
		}
		return said{status: 200, body: `{}`}
	}
	for _, target := range []string{"POST /bedrock/model/m/count-tokens", "GET /bedrock/inference-profiles/m"} {
		b.send(target, "{}")
		b.up.keys()
		used := map[string]bool{}
		for range 6 {
			b.send(target, "{}")
			used[b.up.keys()] = true
		}
		if len(used) != 3 {
			t.Errorf("%s: %v", target, used)
		}
	}
	limited[keyA], limited[keyB], limited[keyC] = true, true, true
	if w := b.send("POST /bedrock/model/m/count-tokens", "{}"); w.Code != 429 {
		t.Errorf("status %d", w.Code)
	}
	clear(limited)
	b.up.keys()
	if w := b.send("POST /bedrock/model/m/count-tokens", "{}"); w.Code != 429 || b.up.keys() != "" {
		t.Errorf("status %d, though the model rests", w.Code)
	}
	if w := b.send("POST /bedrock/model/n/count-tokens", "{}"); w.Code != 200 {
		t.Errorf("status %d for another model", w.Code)
	}
}

// TestALimitIsOneOnAllRoutes checks that a limit of a model counts on recorded routes and on those that are passed through,
// whichever has met it, also if a body is coded, and that it counts for no other model.
func TestALimitIsOneOnAllRoutes(t *testing.T) {
	const recorded, counted = "POST /anthropic/v1/messages", "POST /anthropic/v1/messages/count_tokens"
	for _, first := range []string{recorded, counted} {
		for _, keys := range [][]Key{{{Secret: keyA}}, ofTwoAccounts()} {
			synctest.Test(t, func(t *testing.T) {
				refusing := true
				b := newResilient(t, ProviderOptions{Keys: keys}, func(string, *http.Request) said {
					if refusing {
						return said{status: 429, header: http.Header{"Retry-After": {"20"}}}
					}
					return waysToAsk()["messages"].fine()
				})
				b.send(first, messagesBody)
				refusing = false
				b.up.keys()
				for _, target := range []string{recorded, counted} {
					w := b.send(target, messagesBody)
					if w.Code != 429 || b.up.keys() != "" || w.Header().Get("Retry-After") != "20" {
						t.Errorf("%s was limited, and then %s got status %d", first, target, w.Code)
					}
					w = b.send(target, gzipped(t, messagesBody), "Content-Encoding", "gzip")
					if w.Code != 429 || b.up.keys() != "" {
						t.Errorf("%s was limited, and then %s, coded, got status %d", first, target, w.Code)
					}
					if w := b.send(target, strings.Replace(messagesBody, "claude", "other", 1)); w.Code != 200 {
						t.Errorf("another model on %s got status %d", target, w.Code)
					}
					b.up.keys()
				}
				time.Sleep(20 * time.Second)
				for _, target := range []string{recorded, counted} {
					if w := b.send(target, messagesBody); w.Code != 200 {
						t.Errorf("later, status %d", w.Code)
					}
				}
			})
		}
	}
}

// TestALimitWithoutAModel checks how the status of a key says that it rests for requests that name no model.
func TestALimitWithoutAModel(t *testing.T) {
	upstreams := NewUpstreams()
	b := newResilient(t, ProviderOptions{Key: keyA, Upstreams: upstreams}, func(string, *http.Request) said { return said{status: 429} })
	b.send("GET /openai/v1/models", "")
	status := upstreams.Keys()[1]
	if status.Provider != "openai" || status.State != "limited" || !status.Unnamed || len(status.Models) != 0 {
		t.Errorf("%+v", status)
	}
	b.send("POST /openai/v1/chat/completions", chatBody)
	if status = upstreams.Keys()[1]; !status.Unnamed || fmt.Sprint(status.Models) != "[gpt-x]" {
		t.Errorf("%+v", status)
	}
}
