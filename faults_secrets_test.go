package aibridged_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/testkit"
)

// echo is an answer of an upstream that repeats the provider's key.
type echo struct {
	name   string
	status int
	header http.Header
	body   string
}

// echoes are the ways in which an upstream repeats a key. A new one is one row.
func echoes() []echo {
	key := testkit.ProviderKey
	failing := func(name, text string) echo {
		// Not 401, after which the key rests.
		return echo{"error: " + name, 403, nil, fmt.Sprintf(`{"type":"error","error":{"type":"permission_error","message":%q}}`, text)}
	}
	made := func(name, content string) echo {
		return echo{name, 200, nil, `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[` + content +
			`],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`}
	}
	return []echo{
		failing("the key", "Incorrect API key provided: "+key+"."),
		failing("the key twice, in quotes", fmt.Sprintf("%q is not %q", key, key)),
		failing("with its scheme", "Authorization: Bearer "+key),
		failing("within an address", "GET https://provider.example/v1?key="+key+"&a=1"),
		failing("its beginning", "Incorrect API key provided: "+key[:12]+"**********"),
		failing("its beginning and its end", "Incorrect API key provided: "+key[:9]+"*****"+key[len(key)-7:]+", see there"),
		failing("all but its end", "no such key: "+key[:len(key)-3]+"..."),
		failing("percent-encoded", "no such key: "+strings.ReplaceAll(url.QueryEscape("key "+key), "-", "%2D")),
		failing("in base64", "no such user: "+base64.StdEncoding.EncodeToString([]byte("user:"+key))),
		failing("behind a long text", strings.Repeat("long ", 200)+key),
		failing("at the end of what is recorded", strings.Repeat("x", 1024-12)+key),
		{"error in an event", 200, http.Header{"Content-Type": {"text/event-stream"}},
			"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"bad key " + key + "\"}}\n\n"},
		{"error that is no JSON", 500, http.Header{"Content-Type": {"text/html"}}, "<b>" + key + "</b>"},
		{"error in headers", 403, http.Header{"X-Echo": {"key=" + key}, "Set-Cookie": {key}, "X-Url": {"https://user:" + key + "@a.example"}, "X-" + key: {"1"}},
			`{"type":"error","error":{"type":"permission_error","message":"` + key + `"}}`},
		{"headers", 200, http.Header{"X-Echo": {"key=" + key}, "Set-Cookie": {key}, "X-Url": {"https://user:" + key + "@a.example"}, "X-" + key: {"1"}},
			`{"id":"msg_1","type":"message","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}`},
		made("tool call", `{"type":"tool_use","id":"t_1","name":"curl","input":{"headers":{"Authorization":"Bearer `+key+`"}}}`),
		made("thought", `{"type":"thinking","thinking":"The key is `+key+`."}`),
	}
}

// TestFault088SecretsInRecords is fault 88: where an upstream repeats the key, no record, log line or metric holds it,
// nor does what a dump or a kept file says of headers. The client gets the answer as it is, but for an error, which does not
// tell the key, either.
func TestFault088SecretsInRecords(t *testing.T) {
	t.Parallel()
	answers := map[string]echo{}
	for _, e := range echoes() {
		answers[e.name] = e
	}
	w := newWatched(t, false, func(w http.ResponseWriter, r *http.Request) {
		e := answers[r.Header.Get("X-Case")]
		w.Header().Set("Content-Type", "application/json")
		for name, values := range e.header {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
		w.WriteHeader(e.status)
		_, _ = io.WriteString(w, e.body)
	})
	for i, e := range echoes() {
		r := w.request(t, 0)
		r.Header.Set("Authorization", "Bearer "+testkit.Token)
		r.Header.Set("X-Case", e.name)
		r.Header.Set("User-Agent", fmt.Sprintf("echo/%d", i))
		if status := w.send(t, r); status != e.status {
			t.Errorf("%s: status %d", e.name, status)
		}
		records := w.Control.WaitEnds(t, i+1)
		end := records[len(records)-1].GetInterceptionEnded()
		if strings.HasPrefix(e.name, "error") && (end.GetErrorMessage() == "" || len(end.GetErrorMessage()) > 1024) {
			t.Errorf("%s: recorded %d bytes of message %q", e.name, len(end.GetErrorMessage()), end.GetErrorMessage())
		}
		w.mu.Lock()
		sent := w.texts["answer"]
		if last := sent[len(sent)-1]; !strings.HasSuffix(last, e.body) && (e.status < 400 || !strings.Contains(e.name, "its beginning")) {
			if e.status < 400 {
				t.Errorf("%s: the client got %s", e.name, last)
			}
			for _, told := range append(inBase64(testkit.ProviderKey), testkit.ProviderKey, testkit.ProviderKey[:20], "canary%2D") {
				if strings.Contains(last, told) {
					t.Errorf("%s: the client was told the key: %s", e.name, last)
				}
			}
		} else if e.status >= 400 && !strings.Contains(e.name, "its beginning") {
			t.Errorf("%s: the client was told the key: %s", e.name, last)
		}
		w.mu.Unlock()
	}
	w.close()
	for _, from := range []string{"dumps", "kept"} {
		for i, text := range w.texts[from] {
			for _, e := range echoes() {
				text = strings.ReplaceAll(text, e.body, "") // Bodies are kept as they are.
			}
			w.texts[from][i] = text
		}
	}
	delete(w.texts, "answer")
	delete(w.texts, "upstream")
	delete(w.texts, "upstream bytes")
	key := strings.ToLower(testkit.ProviderKey)
	w.check(t, append(inBase64Lower(testkit.ProviderKey), key[:6], key[len(key)-6:], "canary%2d"))
	if w.count("records") == 0 || w.count("dumps") == 0 || w.count("kept") == 0 {
		t.Error("there is nothing to search")
	}
}

func inBase64Lower(text string) []string {
	found := inBase64(text)
	for i := range found {
		found[i] = strings.ToLower(found[i])
	}
	return found
}

// TestFault088PastedToken is about a caller who pastes their token into a prompt: it goes upstream, since it is the
// caller's text, and the record has the token's hint.
func TestFault088PastedToken(t *testing.T) {
	t.Parallel()
	const key = "sk-own-key-of-the-caller-0123456789"
	s, up := newFine(t, testkit.GatewayOptions{})
	for _, q := range questions() {
		body := q.bodyWith(fine, "curl -H 'Authorization: Bearer "+testkit.Token[:10]+"' and "+key)
		r := s.withBody(t, q, []byte(body))
		r.Header.Set("X-Coder-Ai-Governance-Token", testkit.Token)
		r.Header.Set("Authorization", "Bearer "+key)
		s.check(t, r, answered(q))
		prompt := promptOf(s.interception(t, r.UserAgent()))
		if got := prompt.GetPrompt(); strings.Contains(got, key) || !strings.Contains(got, "and sk-o...6789") {
			t.Errorf("recorded the prompt %q", got)
		}
		if prompt.GetMetadata()["credential_redacted"] == nil {
			t.Error("nothing says that a credential was redacted")
		}
		requests := up.requests()
		if got := string(requests[len(requests)-1].Body); got != body {
			t.Errorf("the upstream got %s, want %s", got, body)
		}
	}
}

// TestFindTokenOfTheControlPlane checks that a host's own form of tokens is recognised.
func TestFindTokenOfTheControlPlane(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{FindToken: func(text string) (int, int) {
		at := strings.Index(text, "hosttoken!")
		return at, at + len("hosttoken!")
	}})
	q := question{messagesFormat(), false}
	r := s.request(t, q, fine)
	r.Header.Set("X-Note", "a hosttoken! b")
	r.Header.Set("X-Other", "kept")
	r.URL.RawQuery = "a=hosttoken%21&b=1"
	s.check(t, r, answered(q))
	sent := up.requests()[0]
	if sent.Header.Get("X-Note") != "" || sent.Header.Get("X-Other") != "kept" || !strings.HasSuffix(sent.First, "?b=1") {
		t.Errorf("the upstream got %s %v", sent.First, sent.Header)
	}
}

// TestFault041TwinsOfHeaders is fault 41: a header whose name some server reads as that of a known one stays here, as do
// those of a connection, whatever else they carry.
func TestFault041TwinsOfHeaders(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{})
	q := question{messagesFormat(), false}
	r := s.request(t, q, fine)
	stay := []string{
		"Content_Length", "Transfer_Encoding", "Content_Type", "X_Api_Key", "X_Api-Key", "X-Api_Key", "X.Api.Key", "Authorization_",
		"Anthropic_Version", "Anthropic_Beta", "OpenAI_Organization", "Api_Key", "Host_", "User_Agent", "Accept_Encoding", "X_Forwarded_For",
		"Cf_Connecting_IP", "X_Coder_Anything", "Idempotency_Key", "Content_Encoding", "Proxy_Authorization", "X_HTTP_Method_Override",
		"If_None_Match", "X_Stainless_Lang", "X_Original_URL", "Sec_WebSocket_Key", "X~Api~Key", "X!Api_Key", "Some_Token", "Some_IP",
	}
	for _, name := range stay {
		r.Header[name] = []string{"0"}
	}
	delete(r.Header, "Authorization_") // Nobody reads it as another.
	delete(r.Header, "Host_")
	pass := []string{"Session_id", "Conversation_id", "X_Unknown", "My.Header", "X-Unknown"}
	for _, name := range pass {
		r.Header[name] = []string{"kept"}
	}
	s.check(t, r, answered(q))
	got := up.requests()[0].Header
	for _, name := range stay {
		if values := got[http.CanonicalHeaderKey(name)]; len(values) > 0 {
			t.Errorf("%s went upstream", name)
		}
	}
	for _, name := range pass {
		if got.Get(name) != "kept" {
			t.Errorf("%s did not go upstream", name)
		}
	}
}
