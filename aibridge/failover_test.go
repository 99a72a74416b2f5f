package aibridge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFailsOver checks, for each format and each way to refuse a key, that the next key serves the request, that it is sent
// the same bytes, that the client learns nothing of it, that the end has the hint of the key that served, and that the key
// is not asked again while it rests.
func TestFailsOver(t *testing.T) {
	for format, asked := range waysToAsk() {
		for name, refusal := range refusals() {
			synctest.Test(t, func(t *testing.T) {
				b := newResilient(t, ProviderOptions{Keys: threeKeys()}, func(key string, _ *http.Request) said {
					if key == keyA {
						return refusal
					}
					return asked.fine()
				})
				began := time.Now()
				w := b.send(asked.target, asked.body)
				if took := time.Since(began); took > longestRefusal {
					t.Errorf("%s, %s: it took %s", format, name, took)
				}
				if w.Code != http.StatusOK || w.Body.String() != asked.answer || w.Header().Get("Retry-After") != "" {
					t.Errorf("%s, %s: status %d, %v, body %s", format, name, w.Code, w.Header(), w.Body)
				}
				if first, second := strings.TrimPrefix(b.up.asked[0], keyA), strings.TrimPrefix(b.up.asked[1], keyB); first != second || first != " "+asked.body {
					t.Errorf("%s, %s: sent %q and then %q", format, name, first, second)
				}
				if got := b.ends.take(); got != hintB {
					t.Errorf("%s, %s: ended as %q", format, name, got)
				}
				b.up.keys()
				for range 4 {
					b.send(asked.target, asked.body)
				}
				if got := b.up.keys(); strings.Contains(got, keyA) || got == "" {
					t.Errorf("%s, %s: then asked with %s", format, name, got)
				}
				provider := "provider=" + strings.Split(asked.target, "/")[1]
				if n := b.metric(t, "key_pool_failovers_total", provider); n != 1 {
					t.Errorf("%s, %s: %v failovers", format, name, n)
				}
				if n := b.metric(t, "key_pool_state", provider, "state=ready"); n != 2 {
					t.Errorf("%s, %s: %v keys are ready", format, name, n)
				}
				if log := b.log.String(); strings.Count(log, hintA) != 1 || strings.Contains(log, keyA) {
					t.Errorf("%s, %s: logged %s", format, name, log)
				}
			})
		}
	}
}

// TestStaysWithAKey checks that what is not about the key, or may have been worked on, is sent once and reaches the client
// as it came.
func TestStaysWithAKey(t *testing.T) {
	for format, asked := range waysToAsk() {
		for _, answer := range []said{
			{status: 400, body: `{"error":{"message":"bad"}}`}, {status: 403, body: `{"error":{"message":"Your credit balance is too low"}}`},
			{status: 404}, {status: 408}, {status: 409}, {status: 413}, {status: 422}, {status: 500}, {status: 502}, {status: 503, header: http.Header{"Retry-After": {"3"}}},
			{status: 504}, {status: 529}, {status: 401, body: `{"error":{"message":"input item ID does not belong to this connection"}}`},
			{status: 429, body: `{"error":{"message":"Request too large for gpt-x"}}`}, {},
		} {
			b := newResilient(t, ProviderOptions{Keys: threeKeys()}, func(string, *http.Request) said { return answer })
			w := b.send(asked.target, asked.body)
			want := answer
			if answer.status == 0 {
				want.status, want.body = http.StatusBadGateway, w.Body.String()
				asked.failureIn(t, want.body)
			}
			if w.Code != want.status || w.Body.String() != want.body || w.Header().Get("Retry-After") != want.header.Get("Retry-After") {
				t.Errorf("%s, %+v: status %d, %s", format, answer, w.Code, w.Body)
			}
			if got := b.up.keys(); got != keyA {
				t.Errorf("%s, %+v: asked with %s", format, answer, got)
			}
			if n := b.metric(t, "key_pool_state", "provider=openai", "state=ready"); n != 3 {
				t.Errorf("%s, %+v: %v keys are ready", format, answer, n)
			}
		}
	}
}

// TestNoKeyIsReady checks what a client is told when all keys rest: in the request that makes the last one rest, and in
// those that follow, which do not go upstream.
func TestNoKeyIsReady(t *testing.T) {
	for format, asked := range waysToAsk() {
		for name, c := range map[string]struct {
			answers map[string]said
			status  int
			retry   string
			ended   string
		}{
			"limits":            {map[string]said{keyA: {status: 429, header: http.Header{"Retry-After": {"60"}}}, keyB: {status: 429, header: http.Header{"Retry-After-Ms": {"6500"}}}, keyC: {status: 429, header: http.Header{"Retry-After": {"40"}}}}, 429, "7", hintC + " rate_limited"},
			"unauthorized":      {map[string]said{keyA: {status: 401}, keyB: {status: 401}, keyC: {status: 401}}, 502, "10", hintC + " unauthorized"},
			"dead":              {map[string]said{keyA: {status: 402}, keyB: {status: 402}, keyC: {status: 402}}, 429, "600", hintC + " unknown"},
			"each in its way":   {map[string]said{keyA: {status: 401}, keyB: {status: 402}, keyC: {status: 429, header: http.Header{"Retry-After": {"40"}}}}, 429, "10", hintC + " rate_limited"},
			"no waits are said": {map[string]said{keyA: {status: 429}, keyB: {status: 429}, keyC: {status: 429}}, 429, "5", hintC + " rate_limited"},
		} {
			synctest.Test(t, func(t *testing.T) {
				b := newResilient(t, ProviderOptions{Keys: threeKeys()}, func(key string, _ *http.Request) said { return c.answers[key] })
				for range 2 {
					w := b.send(asked.target, asked.body)
					asked.failureIn(t, w.Body.String())
					if w.Code != c.status || w.Header().Get("Retry-After") != c.retry {
						t.Errorf("%s, %s: status %d, Retry-After %q, %s", format, name, w.Code, w.Header().Get("Retry-After"), w.Body)
					}
					for _, key := range []string{keyA, hintA} {
						if strings.Contains(w.Body.String(), key) {
							t.Errorf("%s, %s: the client is told a key: %s", format, name, w.Body)
						}
					}
				}
				if got, want := b.up.keys(), keyA+" "+keyB+" "+keyC; got != want {
					t.Errorf("%s, %s: asked with %s", format, name, got)
				}
				if got := b.ends.take(); got != c.ended {
					t.Errorf("%s, %s: ended as %q, want %q: the second request is no interception", format, name, got, c.ended)
				}
			})
		}
	}
}

// TestTheOnlyKey checks that the answer of the only key reaches the client as it came, also if it refuses the key, and that
// the next request is refused until the key has rested.
func TestTheOnlyKey(t *testing.T) {
	for format, asked := range waysToAsk() {
		for name, refusal := range refusals() {
			if refusal.cut || refusal.silent {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				answer := refusal
				b := newResilient(t, ProviderOptions{Key: keyA}, func(string, *http.Request) said { return answer })
				w := b.send(asked.target, asked.body)
				if w.Code != refusal.status || w.Body.String() != refusal.body || w.Header().Get("Retry-After") != refusal.header.Get("Retry-After") {
					t.Errorf("%s, %s: status %d, %s", format, name, w.Code, w.Body)
				}
				w = b.send(asked.target, asked.body)
				asked.failureIn(t, w.Body.String())
				if b.up.keys() != keyA || w.Code != 429 && w.Code != 502 || w.Header().Get("Retry-After") == "" {
					t.Errorf("%s, %s: then status %d, %s", format, name, w.Code, w.Body)
				}
				answer = asked.fine()
				time.Sleep(time.Hour)
				if w := b.send(asked.target, asked.body); w.Code != http.StatusOK {
					t.Errorf("%s, %s: after a while, status %d", format, name, w.Code)
				}
			})
		}
	}
}

// TestOwnKeysNeverFailOver checks that a caller's own key is sent once, and changes nothing for the provider's keys.
func TestOwnKeysNeverFailOver(t *testing.T) {
	for name, refusal := range refusals() {
		refusal.cut, refusal.silent = false, false
		b := newResilient(t, ProviderOptions{Keys: threeKeys()}, func(string, *http.Request) said { return refusal })
		for target, body := range map[string]string{
			"POST /openai/v1/chat/completions": chatBody, "POST /anthropic/v1/messages": messagesBody, "GET /openai/v1/models": "",
		} {
			w := b.send(target, body, "Authorization", "Bearer own-key")
			if w.Code != refusal.status || b.up.keys() != "own-key" {
				t.Errorf("%s, %s: status %d", name, target, w.Code)
			}
		}
		for _, provider := range []string{"provider=openai", "provider=anthropic"} {
			if n := b.metric(t, "key_pool_state", provider, "state=ready"); n != 3 {
				t.Errorf("%s: %v keys are ready", name, n)
			}
		}
	}
}

// TestPassThroughSharesKeys checks that requests that are passed through fail over, too, and that both kinds of routes see
// one state.
func TestPassThroughSharesKeys(t *testing.T) {
	const count = "POST /anthropic/v1/messages/count_tokens"
	for name, refusal := range refusals() {
		synctest.Test(t, func(t *testing.T) {
			all := false
			b := newResilient(t, ProviderOptions{Keys: threeKeys()}, func(key string, _ *http.Request) said {
				if key == keyA || all {
					return refusal
				}
				return said{status: 200, body: `{"input_tokens":7}`}
			})
			w := b.send(count, messagesBody, "Anthropic-Beta", "x")
			if w.Code != http.StatusOK || w.Body.String() != `{"input_tokens":7}` {
				t.Errorf("%s: status %d, %s", name, w.Code, w.Body)
			}
			if len(b.up.asked) != 2 || b.up.asked[0] != keyA+" "+messagesBody || b.up.asked[1] != keyB+" "+messagesBody {
				t.Errorf("%s: asked %q", name, b.up.asked)
			}
			if log := b.log.String(); !strings.Contains(log, hintA) || strings.Contains(log, keyA) {
				t.Errorf("%s: logged %s", name, log)
			}
			b.up.keys()
			// A limit of a route that is passed through need not be one of a model.
			isLimit := refusal.status == 429 && name != "no quota"
			b.send("POST /anthropic/v1/messages", messagesBody, "Authorization", "")
			if got := b.up.keys(); strings.HasPrefix(got, keyA) && !isLimit {
				t.Errorf("%s: the recorded route asked with %s", name, got)
			}
			all = true
			w = b.send(count, messagesBody)
			if w.Code != 429 && w.Code != 502 || w.Header().Get("Retry-After") == "" {
				t.Errorf("%s: status %d, %s", name, w.Code, w.Body)
			}
			b.up.keys()
			if w = b.send(count, messagesBody); b.up.keys() != "" || w.Code != 429 && w.Code != 502 {
				t.Errorf("%s: while all keys rest, status %d", name, w.Code)
			}
		})
	}
}

// TestSessionsStay checks that a conversation stays on its key, and that other conversations go to others.
func TestSessionsStay(t *testing.T) {
	b := newResilient(t, ProviderOptions{Keys: threeKeys()}, func(string, *http.Request) said { return waysToAsk()["messages"].fine() })
	used := map[string]int{}
	for i := range 9 {
		session := []string{"User-Agent", "claude-cli/2", "X-Claude-Code-Session-Id", fmt.Sprint(i)}
		b.send("POST /anthropic/v1/messages", messagesBody, session...)
		key := b.up.keys()
		used[key]++
		for range 3 {
			b.send("POST /anthropic/v1/messages", messagesBody, session...)
			if got := b.up.keys(); got != key {
				t.Errorf("session %d went from %s to %s", i, key, got)
			}
		}
	}
	if used[keyA] != 3 || used[keyB] != 3 || used[keyC] != 3 {
		t.Errorf("the keys have %v sessions", used)
	}
}

// TestBoundToAnAccount checks that what an upstream has stored or encrypted for an account stays on its keys: on another
// route, in a body or in a path, and also if that leaves no key.
func TestBoundToAnAccount(t *testing.T) {
	asked := waysToAsk()["responses"]
	session := []string{"User-Agent", "codex/1", "Session-Id", "s"}
	continued := map[string]func(b *resilient) int{
		"an earlier response": func(b *resilient) int {
			return b.send(asked.target, `{"model":"gpt-x","input":"Go on","previous_response_id":"resp_1"}`).Code
		},
		"a conversation": func(b *resilient) int {
			return b.send(asked.target, `{"model":"gpt-x","input":"Go on","conversation":{"id":"resp_1"}}`).Code
		},
		"something encrypted": func(b *resilient) int {
			return b.send(asked.target, `{"model":"gpt-x","input":[{"type":"reasoning","encrypted_content":"x"}]}`, session...).Code
		},
		"a path": func(b *resilient) int { return b.send("GET /openai/v1/responses/resp_1", "").Code },
	}
	for name, goOn := range continued {
		synctest.Test(t, func(t *testing.T) {
			refusing := map[string]bool{}
			b := newResilient(t, ProviderOptions{Keys: threeKeys()}, func(key string, _ *http.Request) said {
				if refusing[key] {
					return said{status: 401}
				}
				return asked.fine()
			})
			b.send(asked.target, asked.body, session...)
			first := b.up.keys()
			for range 5 {
				if code := goOn(b); code != 200 || b.up.keys() != first {
					t.Fatalf("%s: status %d", name, code)
				}
			}
			refusing[keyA] = true
			if code, got := goOn(b), b.up.keys(); code != 200 || got != keyA+" "+keyB {
				t.Errorf("%s: status %d, asked with %s", name, code, got)
			}
			refusing[keyB] = true
			if code, got := goOn(b), b.up.keys(); code != 502 || got != keyB {
				t.Errorf("%s: status %d, asked with %s, though the key that is left is of another account", name, code, got)
			}
			if w := b.send(asked.target, asked.body); w.Code != 200 || b.up.keys() != keyC {
				t.Errorf("%s: what is bound to no account got status %d", name, w.Code)
			}
		})
	}
}

// TestFailsOverWhileAskedForUsage checks that the two reasons to send a request again go together.
func TestFailsOverWhileAskedForUsage(t *testing.T) {
	asked := waysToAsk()["chat, streamed"]
	body := strings.Replace(chatBody, "{", `{"stream":true,`, 1)
	b := newResilient(t, ProviderOptions{Keys: threeKeys()}, func(key string, r *http.Request) said {
		switch {
		case key == keyA:
			return said{status: 429}
		case r.ContentLength != int64(len(body)):
			return said{status: 400, body: `{"error":{"message":"unknown parameter: stream_options"}}`}
		}
		return asked.fine()
	})
	if w := b.send(asked.target, body); w.Code != 200 || w.Body.String() != asked.answer || b.up.asked[2] != keyB+" "+body {
		t.Errorf("status %d, %s; asked %q", w.Code, w.Body, b.up.asked)
	}
}

// TestKeysOutliveTheirProviders checks that what is known of a key is kept when its provider is made anew.
func TestKeysOutliveTheirProviders(t *testing.T) {
	asked := waysToAsk()["messages"]
	upstreams := NewUpstreams()
	refuse := func(key string, _ *http.Request) said {
		if key == keyA {
			return said{status: 402}
		}
		return asked.fine()
	}
	b := newResilient(t, ProviderOptions{Keys: threeKeys(), Upstreams: upstreams}, refuse)
	b.send(asked.target, asked.body)
	b = newResilient(t, ProviderOptions{Keys: []Key{{keyA, "x"}, {keyC, "y"}}, Upstreams: upstreams}, refuse)
	b.send(asked.target, asked.body)
	if got := b.up.keys(); got != keyC {
		t.Errorf("asked with %s", got)
	}
	var got []string
	for _, key := range upstreams.Keys() {
		got = append(got, key.Provider+" "+key.Hint+" "+key.Account+" "+key.State)
	}
	want := []string{"anthropic " + hintA + " x dead", "anthropic " + hintC + " y ready", "openai " + hintA + " x ready", "openai " + hintC + " y ready"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}
