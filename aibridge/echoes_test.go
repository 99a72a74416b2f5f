package aibridge

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// waysWithKeys are all recorded formats, and some routes that are passed through.
func waysWithKeys() map[string]way {
	ways := waysToAsk()
	ways["models"] = way{target: "GET /openai/v1/models"}
	ways["tokens"] = way{target: "POST /anthropic/v1/messages/count_tokens", body: messagesBody}
	ways["a response"] = way{target: "GET /openai/v1/responses/resp_1"}
	return ways
}

// TestAKeyIsNeverTold checks that an error tells no key of the gateway and no secret header, whatever its status, its route,
// its form and its coding are, and with one key or several; that it otherwise stays as it is; and that what it cannot be
// told apart from it is not touched either: an error without a key, a caller's own key, a success.
func TestAKeyIsNeverTold(t *testing.T) {
	const proxy = "proxy-secret-0123456789"
	for name, asked := range waysWithKeys() {
		for _, status := range []int{400, 401, 402, 403, 404, 429, 500, 503, 529} {
			for form, c := range map[string]struct {
				body  func(secret string) string
				coded bool
			}{
				"JSON":  {func(s string) string { return `{"error":{"message":"no: ` + s + `. ` + s + `"}}` }, false},
				"page":  {func(s string) string { return "<html>" + s }, false},
				"large": {func(s string) string { return s + strings.Repeat(" x", 200<<10) + "end" }, false},
				"coded": {func(s string) string { return `{"error":"` + s + `"}` }, true},
				"event": {func(s string) string { return "event: error\ndata: {\"error\":\"" + s + "\"}\n\n" }, false},
			} {
				for _, keys := range [][]Key{{{Secret: keyC}}, {{keyC, "x"}, {keyC + "2", "x"}}} {
					synctest.Test(t, func(t *testing.T) {
						secret := ""
						b := newResilient(t, ProviderOptions{Keys: keys, Headers: map[string]string{"X-Proxy-Secret": proxy, "X-Title": "a title that is long"}}, func(key string, _ *http.Request) said {
							secret = key
							body := c.body(key + " " + proxy + " a title that is long")
							header := http.Header{"X-Echo": {"a", "key=" + key}, "Content-Type": {"text/plain"}, "Content-Length": {fmt.Sprint(len(body))}}
							if form == "event" {
								header.Set("Content-Type", "text/event-stream")
							}
							if c.coded {
								body = gzipped(t, body)
								header.Set("Content-Encoding", "gzip")
								header.Set("Content-Length", fmt.Sprint(len(body)))
							}
							return said{status: status, header: header, body: body}
						})
						w := b.send(asked.target, asked.body)
						for place, text := range map[string]string{"body": w.Body.String(), "header": fmt.Sprint(w.Header()), "log": b.log.String()} {
							if strings.Contains(text, keyC) || strings.Contains(text, proxy) {
								t.Fatalf("%s, %d, %s, %d keys: the %s has the key", name, status, form, len(keys), place)
							}
						}
						if w.Code != status || w.Header()["X-Echo"] == nil {
							return // Both keys were refused, and the answer is the gateway's own.
						}
						hint := keyHint(secret)
						want := c.body(hint + " prox...6789 a title that is long")
						if w.Body.String() != want || w.Header().Get("Content-Encoding") != "" || w.Header().Get("Content-Length") != fmt.Sprint(len(want)) {
							t.Errorf("%s, %d, %s: %v, %d bytes, want %d: %.200s", name, status, form, w.Header(), w.Body.Len(), len(want), w.Body)
						}
						if got := fmt.Sprint(w.Header()["X-Echo"]); got != "[a key="+hint+"]" {
							t.Errorf("%s, %d, %s: X-Echo %s", name, status, form, got)
						}
					})
				}
			}
		}
	}
}

func keyHint(key string) string { return key[:4] + "..." + key[len(key)-4:] }

// TestWithoutAKeyAnErrorStays checks that an error which repeats no key of the gateway reaches the client as it came, coded or
// not, and so do what repeats a caller's own key, a key that is too short to be told from a word, and a success.
func TestWithoutAKeyAnErrorStays(t *testing.T) {
	for name, asked := range waysWithKeys() {
		for what, c := range map[string]struct {
			status int
			own    bool
			key    string
			body   string
			coded  bool
		}{
			"no key":       {404, false, keyA, `{"error":"no \/ such \u00e9 thing: key-aaaa and aaaa"}`, false},
			"coded":        {404, false, keyA, `{"error":"no \/ such thing"}`, true},
			"a damaged":    {500, false, keyA, "\x1f\x8b damaged", false},
			"own key":      {403, true, keyA, `{"error":"` + keyB + `"}`, false},
			"a short key":  {403, false, "ollama", `{"error":"ollama has no such model"}`, false},
			"a masked key": {403, false, keyA, `{"error":"key-aaaa******aaaa"}`, false},
		} {
			b := newResilient(t, ProviderOptions{Key: c.key}, func(string, *http.Request) said {
				header := http.Header{"X-Echo": {"ollama", keyB}}
				body := c.body
				if c.coded {
					body = gzipped(t, body)
				}
				if c.coded || what == "a damaged" {
					header["Content-Encoding"] = []string{"gzip"}
				}
				return said{status: c.status, header: header, body: body}
			})
			var own []string
			if c.own {
				own = []string{"Authorization", "Bearer " + keyB}
			}
			want := c.body
			if c.coded {
				want = gzipped(t, want)
			}
			w := b.send(asked.target, asked.body, own...)
			if w.Code != c.status || w.Body.String() != want || fmt.Sprint(w.Header()["X-Echo"]) != "[ollama "+keyB+"]" {
				t.Errorf("%s, %s: %d, %v, %s", name, what, w.Code, w.Header(), w.Body)
			}
		}
	}
}
