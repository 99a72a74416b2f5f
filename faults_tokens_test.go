package aibridged_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/kept"
	"github.com/coder/aibridged/internal/observe"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/internal/upstream"
	"github.com/coder/aibridged/proto"
)

// needle is in every token that these tests plant, so that one search finds them all.
const needle = "NEEDLEINAHAYSTACK"

// tokenKind is a kind of token that must not leave.
type tokenKind struct {
	name      string
	token     string
	presented bool // The request is authorised by it.
}

func tokenKinds() []tokenKind {
	return []tokenKind{
		{"the caller's, as Coder makes them", "a1B2c3D4e5-" + needle + "x9y8Z", true},
		{"the caller's, as the store makes them", "ABCDEFGH27-" + needle + "ABCDEFG27", true},
		{"the caller's, of no known form", "host_" + needle + ".v1", true},
		{"somebody's, as Coder makes them", "z1B2c3D4e9-" + needle + "x9y8Z", false},
		{"somebody's, as the store makes them", "BCDEFGHI27-" + needle + "ABCDEFG27", false},
	}
}

// tokenCoding is how a token is written in a place.
type tokenCoding struct {
	name string
	of   func(token string) string
}

func tokenCodings() []tokenCoding {
	percent := func(text string) string {
		var b strings.Builder
		for _, c := range []byte(text) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
		return b.String()
	}
	return []tokenCoding{
		{"as it is", func(token string) string { return token }},
		{"behind a prefix", func(token string) string { return "user_session_" + token }},
		{"in a longer value", func(token string) string { return "user:" + token + "@host" }},
		{"percent-encoded", percent},
		{"percent-encoded in lower case, in part", func(token string) string { return strings.ToLower(percent(token[:4])) + token[4:] }},
		{"percent-encoded twice", func(token string) string { return percent(percent(token)) }},
		{"in base64", func(token string) string { return base64.StdEncoding.EncodeToString([]byte(token)) }},
		{"in base64 with a user", func(token string) string { return base64.StdEncoding.EncodeToString([]byte("coder:" + token)) }},
		{"in base64 without padding", func(token string) string { return base64.RawURLEncoding.EncodeToString([]byte("??>:" + token)) }},
		{"in base64 behind a prefix", func(token string) string { return "abc-" + base64.URLEncoding.EncodeToString([]byte(token)) }},
		{"in base64 twice", func(token string) string {
			return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(token))))
		}},
		{"in base64, percent-encoded", func(token string) string {
			return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("a:" + token)))
		}},
		{"percent-encoded, in base64", func(token string) string { return base64.StdEncoding.EncodeToString([]byte(percent(token))) }},
	}
}

// needles are the forms in which a needle can be found, in lower case. They do not use the gateway's own search.
func needles() []string {
	percent := func(text string) string {
		var b strings.Builder
		for _, c := range []byte(text) {
			fmt.Fprintf(&b, "%%%02x", c)
		}
		return b.String()
	}
	found := []string{needle, percent(needle), percent(strings.ToUpper(percent(needle)))}
	for _, text := range []string{needle, strings.ToUpper(percent(needle))} {
		for _, once := range inBase64(text) {
			found = append(found, once)
			found = append(found, inBase64(once)...)
		}
	}
	for i := range found {
		found[i] = strings.ToLower(found[i])
	}
	return found
}

// inBase64 returns what base64 makes of a text, by where in the encoded bytes the text begins, without the characters
// that depend on the bytes around it.
func inBase64(text string) []string {
	var cores []string
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + text))
		cores = append(cores, encoded[(before*8+5)/6:len(encoded)-1])
	}
	return cores
}

// tokenPlace is a place of a request where a token may stand.
type tokenPlace struct {
	name    string
	plant   func(r *http.Request, text string)
	raw     bool // The text must be no longer than a name, without odd characters: it is planted as it is only.
	refused bool // The request is refused.
}

// bringOwn makes a request one whose caller brings a provider credential.
func bringOwn(r *http.Request) {
	if len(r.Header["X-Coder-Ai-Governance-Token"]) == 0 {
		r.Header.Set("X-Coder-Ai-Governance-Token", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		r.Header.Set("Authorization", "Bearer own-key-of-the-caller")
	}
}

func inHeader(name, before, after string) tokenPlace {
	return tokenPlace{name: "header " + name + ": " + before, plant: func(r *http.Request, text string) {
		r.Header.Set(name, before+text+after)
	}}
}

func inQuery(name string, plant func(text string) string) tokenPlace {
	return tokenPlace{name: "query " + name, plant: func(r *http.Request, text string) { r.URL.RawQuery = plant(text) }}
}

func inPath(name string, plant func(path, text string) string) tokenPlace {
	return tokenPlace{name: "path " + name, refused: true, plant: func(r *http.Request, text string) {
		r.URL.Opaque = "//" + r.URL.Host + plant(r.URL.EscapedPath(), text)
	}}
}

// tokenPlaces are the places. A new one is one row.
func tokenPlaces() []tokenPlace {
	places := []tokenPlace{
		inHeader("Content-Type", "application/json; boundary=", ""),
		inHeader("User-Agent", "tool/1.0 (", ")"),
		inHeader("Referer", "https://chat.example/?session=", "&a=1"),
		inHeader("Anthropic-Beta", "a-2025-01-01,", ",b"),
		inHeader("X-Note", "Bearer ", ""),
		inHeader("X-Note", "Basic ", ""),
		inHeader("X-Note", `{"token":"`, `"}`),
		inHeader("Cookie", "coder_session_token=", "; a=b"),
		{name: "the caller's own credential, as a bearer token", plant: func(r *http.Request, text string) {
			bringOwn(r)
			r.Header.Set("Authorization", "Bearer "+text)
		}},
		{name: "the caller's own credential, in every header", plant: func(r *http.Request, text string) {
			bringOwn(r)
			for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
				r.Header.Set(name, text)
			}
		}},
		{name: "the caller's own credential, of another scheme", plant: func(r *http.Request, text string) {
			bringOwn(r)
			r.Header.Set("Authorization", "Basic "+text)
		}},
		{name: "two values of one header", plant: func(r *http.Request, text string) { r.Header["X-Note"] = []string{"first", text, "last"} }},
		{name: "the name of a header", raw: true, plant: func(r *http.Request, text string) { r.Header.Set(text, "1") }},
		{name: "a part of the name of a header", raw: true, plant: func(r *http.Request, text string) { r.Header.Set("X-Note-"+text+"-More", "1") }},
		inQuery("value", func(text string) string { return "beta=true&note=" + url.QueryEscape(text) }),
		inQuery("value, not encoded", func(text string) string { return "note=" + strings.ReplaceAll(text, "+", "%2B") }),
		inQuery("value within an address", func(text string) string {
			return "to=" + url.QueryEscape("https://a.example/?b="+url.QueryEscape(text))
		}),
		inQuery("value named key", func(text string) string { return "key=" + url.QueryEscape(text) }),
		inQuery("name", func(text string) string { return url.QueryEscape(text) + "=1" }),
		inQuery("alone", url.QueryEscape),
		{name: "an announced trailer", plant: func(r *http.Request, text string) {
			body, _ := io.ReadAll(r.Body)
			r.Body, r.ContentLength, r.Trailer = io.NopCloser(bytes.NewReader(body)), -1, http.Header{"X-Note": {text}, "X-Api-Key": {text}}
			r.GetBody = nil
		}},
		inPath("as a model", func(path, text string) string { return aibridge.RootPath + "/openai/v1/models/" + url.PathEscape(text) }),
		inPath("at the end", func(path, text string) string { return path + "/" + url.PathEscape(text) }),
		inPath("as a provider", func(path, text string) string { return aibridge.RootPath + "/" + url.PathEscape(text) + "/v1/messages" }),
		inPath("of no route", func(path, text string) string { return aibridge.RootPath + "/openai/v9/" + url.PathEscape(text) }),
	}
	for _, name := range []string{
		"X-Api-Key", "X-Goog-Api-Key", "Api-Key", "X-Amz-Security-Token", "Anthropic-Workspace-Id", "Sec-Websocket-Protocol",
		"Origin", "Proxy-Authorization", "X-Request-Id", "Idempotency-Key", "Session_id", "Session-Id", "X-Claude-Code-Session-Id",
		"Originator", "Traceparent", "Accept", "Accept-Encoding", "Accept-Language", "If-None-Match", "Forwarded", "Via", "From",
		"X-Forwarded-For", "Openai-Organization", "Openai-Project", "Chatgpt-Account-Id", "Anthropic-Version", "X-Stainless-Lang",
		"X-Claude-Code-Agent-Id", "X-Parent-Agent-Id", "X-Parent-Session-Id", "X-Openai-Subagent", "Thread-Id",
		"X-Coder-Session-Token", "Coder-Session-Token", "Upgrade", "Dpop", "Mcp-Session-Id", "X-Title", "Range", "X_api_key", "Baggage",
	} {
		places = append(places, inHeader(name, "", ""))
	}
	return places
}

// haystack is everything that leaves a gateway, or that it keeps.
type haystack struct {
	mu    sync.Mutex
	texts map[string][]string // Guarded by mu; by where they are from.
}

func (h *haystack) add(from, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.texts[from] = append(h.texts[from], text)
}

// count returns how many texts there are from a place.
func (h *haystack) count(from string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.texts[from])
}

// check fails the test if something that only needles should find is in a text.
func (h *haystack) check(t *testing.T, needles []string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for from, texts := range h.texts {
		for _, text := range texts {
			lower := strings.ToLower(text)
			for _, needle := range needles {
				if at := strings.Index(lower, needle); at >= 0 {
					t.Errorf("%s: %q is in %q", from, needle, text[max(0, at-200):min(len(text), at+200)])
					break
				}
			}
		}
	}
}

// watched is a gateway, all of whose traffic and files are in a haystack once it is closed.
type watched struct {
	*testkit.Gateway
	*haystack

	base     string // Where it listens.
	client   *http.Client
	registry *prometheus.Registry
	dir      string
	close    func() // Reads the files; idempotent.
}

// newWatched returns a gateway before an upstream that gives each request the same answer. Both speak HTTP/2 if http2 is
// set.
func newWatched(t *testing.T, http2 bool, answer http.HandlerFunc) *watched {
	t.Helper()
	w := &watched{haystack: &haystack{texts: map[string][]string{}}, registry: prometheus.NewRegistry(), dir: t.TempDir()}
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.add("upstream", fmt.Sprintf("%s %s %s %s\n%v\n%s\n%v", r.Proto, r.Method, r.RequestURI, r.Host, r.Header, body, r.Trailer))
		answer(rw, r)
	}))
	transport := upstream.NewTransport(upstream.Limits{})
	start(up, http2)
	t.Cleanup(up.Close)
	if http2 {
		transport.TLSClientConfig.RootCAs = up.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	} else {
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return &heardConn{Conn: conn, hear: func(p []byte) { w.add("upstream bytes", string(p)) }}, err
		}
	}
	t.Cleanup(transport.CloseIdleConnections)
	keeper, err := observe.Keep(transport, filepath.Join(w.dir, "kept"), time.Hour, 64<<20, slog.Make())
	if err != nil {
		t.Fatal(err)
	}
	dumper := observe.Dump(keeper, filepath.Join(w.dir, "dumps"), 64<<20, slog.Make())
	options := aibridge.ProviderOptions{BaseURL: up.URL, Key: testkit.ProviderKey, Transport: dumper}
	anthropic, err := aibridge.NewAnthropicProvider("anthropic", options)
	if err != nil {
		t.Fatal(err)
	}
	options.BaseURL += "/v1"
	openai, err := aibridge.NewOpenAIProvider("openai", options)
	if err != nil {
		t.Fatal(err)
	}
	control := &testkit.ControlPlane{Authorize: func(_ context.Context, r *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
		for _, kind := range tokenKinds() {
			if r.GetKey() == kind.token && kind.presented || r.GetKey() == testkit.Token {
				return &proto.IsAuthorizedResponse{OwnerId: testkit.OwnerID, ApiKeyId: testkit.APIKeyID, Username: testkit.Username}, nil
			}
		}
		return nil, fmt.Errorf("no such key: %s", r.GetKey())
	}}
	w.Gateway = testkit.NewGateway(t, "", testkit.GatewayOptions{
		Control: control, Provider: []aibridge.Provider{anthropic, openai}, Bridges: aibridge.NewMetrics(w.registry),
		FindToken: aibridgedserver.FindToken,
	})
	if _, err := w.Server.Client(); err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(w.Server)
	start(front, http2)
	t.Cleanup(front.Close)
	w.base, w.client = front.URL, front.Client()
	w.client.Transport.(*http.Transport).DisableCompression = true
	w.close = sync.OnceFunc(func() {
		if err := w.Server.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		dumper.Close()
		keeper.Close()
		w.read(t)
	})
	t.Cleanup(w.close)
	return w
}

func start(server *httptest.Server, http2 bool) {
	if http2 {
		server.EnableHTTP2 = true
		server.StartTLS()
		return
	}
	server.Start()
}

// heardConn is a connection whose written bytes are heard.
type heardConn struct {
	net.Conn
	hear func([]byte)
}

func (c *heardConn) Write(p []byte) (int, error) {
	c.hear(p)
	return c.Conn.Write(p)
}

// read adds the log, the records, the metrics and the files.
func (w *watched) read(t *testing.T) {
	for line := range strings.Lines(w.Log.String()) {
		w.add("log", line)
	}
	for _, record := range w.Control.Records() {
		text, err := protojson.Marshal(record)
		if err != nil {
			t.Error(err)
		}
		w.add("records", string(text))
	}
	families, err := w.registry.Gather()
	if err != nil {
		t.Error(err)
	}
	for _, family := range families {
		w.add("metrics", family.String())
	}
	err = filepath.WalkDir(w.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		bytes, err := os.ReadFile(path)
		if strings.Contains(path, "/kept/") && err == nil {
			var exchange *kept.Exchange
			exchange, err = kept.Read(strings.NewReader(string(bytes)))
			w.add("kept", fmt.Sprintf("%+v\n%s\n%+v\n%s\n%+v", exchange.Head, exchange.Request, exchange.Answer, exchange.Response, exchange.End))
			return err
		}
		w.add("dumps", string(bytes))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// send sends a request and returns the status of its answer, which is added to the haystack.
func (w *watched) send(t *testing.T, r *http.Request) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), testkit.Patience)
	defer cancel()
	response, err := w.client.Do(r.WithContext(ctx))
	if err != nil {
		t.Error(err)
		return 0
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		t.Error(err)
	}
	w.add("answer", fmt.Sprintf("%s\n%v\n%s", response.Status, response.Header, body))
	return response.StatusCode
}

// request returns a request on one of several routes, by number.
func (w *watched) request(t *testing.T, n int) *http.Request {
	t.Helper()
	routes := []string{"/anthropic/v1/messages", "/anthropic/v1/messages/count_tokens", "/openai/v1/chat/completions", "/openai/v1/responses"}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+aibridge.RootPath+routes[n%len(routes)],
		strings.NewReader(`{"model":"m","max_tokens":1,"messages":[],"input":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return r
}

// fineAnswer answers in the format of the path.
func fineAnswer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for _, f := range formats() {
		if strings.HasSuffix(f.path, r.URL.Path) {
			_, _ = io.WriteString(w, f.json)
			return
		}
	}
	_, _ = io.WriteString(w, `{"input_tokens":1}`)
}

// TestFault046NoTokenLeaves is fault 46: no token of the gateway leaves it, whoever's it is, wherever a request has it,
// and however it is encoded; nor is it in the log, the records, the metrics, dumps or kept files.
func TestFault046NoTokenLeaves(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP1", true: "HTTP2"}[http2], func(t *testing.T) {
			t.Parallel()
			w := newWatched(t, http2, fineAnswer)
			n, served := 0, 0
			for _, place := range tokenPlaces() {
				for _, coding := range tokenCodings() {
					for _, kind := range tokenKinds() {
						if place.raw && coding.name != "as it is" {
							continue
						}
						if n++; http2 && n%4 != 0 {
							continue // The search is the same: what differs is how names and trailers are sent.
						}
						r := w.request(t, n/4)
						r.Header.Set("Authorization", "Bearer "+testkit.Token)
						if kind.presented {
							r.Header.Set("Authorization", "Bearer "+kind.token)
						}
						if n%3 == 0 { // BYOK.
							bringOwn(r)
							r.Header.Set("Authorization", "Bearer own-key-of-the-caller")
						}
						place.plant(r, coding.of(kind.token))
						if http2 {
							r.Header.Del("Upgrade") // It is no header of HTTP/2.
						}
						before := w.count("upstream")
						status := w.send(t, r)
						switch reached := w.count("upstream") > before; {
						case place.refused && (reached || status < 400 || status > 404):
							t.Errorf("%s, %s, %s: status %d, the upstream was reached: %t", place.name, coding.name, kind.name, status, reached)
						case !place.refused && (!reached || status != 200):
							t.Errorf("%s, %s, %s: status %d, the upstream was reached: %t", place.name, coding.name, kind.name, status, reached)
						case reached:
							served++
						}
					}
				}
			}
			w.close()
			w.check(t, needles())
			for _, from := range []string{"upstream", "answer", "log", "records", "metrics", "dumps", "kept"} {
				if w.count(from) == 0 {
					t.Errorf("there is nothing from %s to search", from)
				}
			}
			t.Logf("%d requests, %d of them served", n, served)
		})
	}
}

// TestNeedlesAreFound checks the search of these tests: it finds each token in each coding.
func TestNeedlesAreFound(t *testing.T) {
	t.Parallel()
	for _, coding := range tokenCodings() {
		for _, kind := range tokenKinds() {
			text, found := strings.ToLower("x"+coding.of(kind.token)+"y"), false
			for _, needle := range needles() {
				found = found || strings.Contains(text, needle)
			}
			if !found {
				t.Errorf("%s, %s: %q is not found", coding.name, kind.name, text)
			}
		}
	}
}

// TestFault046NoTokenLeavesInOddRequests sends what clients of net/http do not: tokens as methods, hosts and trailers
// that are not announced.
func TestFault046NoTokenLeavesInOddRequests(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		w := newWatched(t, http2, fineAnswer)
		if http2 {
			w.base = w.HTTP.URL // The gateway takes these over HTTP/1.1; the upstream speaks HTTP/2.
		}
		const path = aibridge.RootPath + "/anthropic/v1/messages"
		const chunks = "%x\r\n%s\r\n0\r\n"
		body := `{"model":"m","max_tokens":1,"messages":[]}`
		for _, kind := range tokenKinds() {
			own := "Bearer " + testkit.Token
			if kind.presented {
				own = "Bearer " + kind.token
			}
			head := "Host: gateway\r\nConnection: close\r\nAuthorization: " + own + "\r\n"
			chunked := fmt.Sprintf(chunks, len(body), body)
			for name, request := range map[string]string{
				"method":             kind.token + " " + path + " HTTP/1.1\r\n" + head + "\r\n",
				"method, no token":   kind.token + " " + path + " HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n",
				"refused token":      "POST " + path + " HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nX-Api-Key: no" + kind.token + "\r\n\r\n",
				"host":               "GET " + path + " HTTP/1.1\r\n" + strings.Replace(head, "gateway", kind.token, 1) + "\r\n",
				"user of an address": "GET http://" + kind.token + "@gateway" + path + " HTTP/1.1\r\n" + head + "\r\n",
				"unannounced trailer": "POST " + path + " HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\n\r\n" +
					chunked + "X-Note: " + kind.token + "\r\n\r\n",
				"announced trailer": "POST " + path + " HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\nTrailer: X-Note, X-Api-Key\r\n\r\n" +
					chunked + "X-Note: " + kind.token + "\r\nX-Api-Key: " + kind.token + "\r\n\r\n",
				"trailer of a passed-through route": "POST " + path + "/count_tokens HTTP/1.1\r\n" + head +
					"Transfer-Encoding: chunked\r\nTrailer: X-Note\r\n\r\n" + chunked + "X-Note: " + kind.token + "\r\n\r\n",
				"name of a trailer": "POST " + path + " HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\nTrailer: " + kind.token + "\r\n\r\n" +
					chunked + kind.token + ": 1\r\n\r\n",
				"content coding": "POST " + path + " HTTP/1.1\r\n" + head + "Content-Encoding: " + kind.token + "\r\nContent-Length: 2\r\n\r\n{}",
				"name in a body that is refused": "POST " + path + " HTTP/1.1\r\n" + head + fmt.Sprintf("Content-Length: %d\r\n\r\n", 12+2*len(kind.token)) +
					fmt.Sprintf(`{%q:1,%q:1} `, kind.token, kind.token) + "  ",
				"path that is refused": "POST " + path + "%2e/" + kind.token + " HTTP/1.1\r\n" + head + "\r\n",
			} {
				if answer := exchange(t, w.base, request); !strings.HasPrefix(answer, "HTTP/1.1 ") {
					t.Errorf("%s, %s: %q", name, kind.name, answer)
				} else {
					w.add("answer", answer)
				}
			}
		}
		if n := w.count("upstream"); n < 3*len(tokenKinds()) {
			t.Errorf("the upstream was asked only %d times", n)
		}
		w.close()
		w.check(t, needles())
	}
}

// exchange sends bytes to a server and returns its answer.
func exchange(t *testing.T, base, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn) // The server may reset a connection that it has answered.
	return string(answer)
}

// TestFault046NamesInTheBody is about tokens in what a client names in its body: the body goes upstream as it is, and
// the name is recorded, counted and logged without the token.
func TestFault046NamesInTheBody(t *testing.T) {
	t.Parallel()
	w := newWatched(t, false, fineAnswer)
	for _, kind := range tokenKinds() {
		for _, coding := range tokenCodings() {
			text := coding.of(kind.token)
			r := w.request(t, 0)
			body := fmt.Sprintf(`{"model":%q,"max_tokens":1,"metadata":{"user_id":%q},"messages":[{"role":"user","content":[`+
				`{"type":"tool_result","tool_use_id":%q,"content":"x"}]}]}`, text, "user_session_"+text, text)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			r.Header.Set("User-Agent", "claude-cli/2.1")
			r.Header.Set("Authorization", "Bearer "+testkit.Token)
			if kind.presented {
				r.Header.Set("Authorization", "Bearer "+kind.token)
			}
			if status := w.send(t, r); status != 200 {
				t.Errorf("%s, %s: status %d", coding.name, kind.name, status)
			}
			w.mu.Lock()
			if sent := w.texts["upstream"]; !strings.Contains(sent[len(sent)-1], body) {
				t.Errorf("%s, %s: the body did not go upstream as it was", coding.name, kind.name)
			}
			w.mu.Unlock()
		}
	}
	w.close()
	for _, from := range []string{"upstream", "upstream bytes", "dumps", "kept"} {
		delete(w.texts, from) // They have the bodies.
	}
	w.check(t, needles())
}
