package aibridged_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/rawserver"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// newFine returns a gateway whose upstream answers every request without a fault.
func newFine(t *testing.T, options testkit.GatewayOptions) (*site, *scripted) {
	t.Helper()
	up := newScripted(t, nil)
	return newSite(t, up.URL(), options), up
}

// withBody returns a request with a body of its own.
func (s *site) withBody(t *testing.T, q question, body []byte) *http.Request {
	t.Helper()
	r := s.request(t, q, fine)
	r.Body, r.ContentLength, r.GetBody = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	return r
}

// TestFault022Nesting is fault 22: a body of any depth is refused, quickly, and the process lives.
func TestFault022Nesting(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{})
	for _, depth := range []int{10_000, 1_000_000, 6_000_000} {
		for _, q := range streams() {
			body := `{"model":"fine","messages":[],"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`
			r := s.withBody(t, q, []byte(body))
			began := time.Now()
			response, err := s.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode != 400 || !strings.Contains(string(text), "nested too deeply") {
				t.Errorf("%d deep: %d %s", depth, response.StatusCode, text)
			}
			// The limit is far above what the scan needs, which is milliseconds.
			if took := time.Since(began); took > testkit.Patience {
				t.Errorf("%d deep: refused after %s", depth, took)
			}
		}
	}
	s.serves(t)
	up.checkRequests(t, 0)
}

// TestFault027BodyOverLimit is fault 27: a body over the limit is refused, whether or not it says how long it is.
func TestFault027BodyOverLimit(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{Limits: aibridge.Limits{RequestBody: 4096}})
	for _, q := range streams() {
		large := []byte(q.bodyWith(fine, strings.Repeat("long ", 2000)))
		s.check(t, s.withBody(t, q, large), refused(413, "request body too large"))
		r := s.withBody(t, q, large)
		r.ContentLength = -1
		s.check(t, r, refused(413, "request body too large"))
		exact := []byte(q.bodyWith(fine, strings.Repeat("x", 4096-len(q.bodyWith(fine, "")))))
		s.check(t, s.withBody(t, q, exact), answered(q))
	}
	s.serves(t)
	up.checkRequests(t, 0)
}

// TestFault030OddText is fault 30: the upstream gets the bytes unchanged; the record holds text that any store takes.
func TestFault030OddText(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{})
	q := question{messagesFormat(), false}
	for _, test := range []struct {
		raw, want string
		flagged   bool
	}{
		{"bad \xff utf-8", "bad \ufffd utf-8", true},
		{`NUL \u0000 inside`, "NUL \ufffd inside", true},
		{`lone \ud800 half`, "lone \ufffd half", true},
		{"fine ☃", "fine ☃", false},
	} {
		body := `{"model":"fine","messages":[{"role":"user","content":"` + test.raw + `"}]}`
		r := s.withBody(t, q, []byte(body))
		s.check(t, r, answered(q))
		prompt := promptOf(s.interception(t, r.UserAgent()))
		if prompt.GetPrompt() != test.want || (prompt.GetMetadata()["sanitized"] != nil) != test.flagged {
			t.Errorf("%q was recorded as %q with %v", test.raw, prompt.GetPrompt(), prompt.GetMetadata())
		}
		requests := up.requests()
		if got := string(requests[len(requests)-1].Body); got != body {
			t.Errorf("upstream got %q, want %q", got, body)
		}
	}
}

// encoders are the content codings that clients may use.
func encoders(t *testing.T) map[string]func([]byte) []byte {
	t.Helper()
	through := func(open func(io.Writer) io.WriteCloser) func([]byte) []byte {
		return func(plain []byte) []byte {
			var coded bytes.Buffer
			w := open(&coded)
			if _, err := w.Write(plain); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return coded.Bytes()
		}
	}
	return map[string]func([]byte) []byte{
		"gzip": through(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }),
		"deflate": through(func(w io.Writer) io.WriteCloser {
			writer, err := flate.NewWriter(w, flate.BestSpeed)
			if err != nil {
				t.Fatal(err)
			}
			return writer
		}),
		"br": through(func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) }),
		"zstd": through(func(w io.Writer) io.WriteCloser {
			writer, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
			if err != nil {
				t.Fatal(err)
			}
			return writer
		}),
	}
}

// TestFault031CodedRequests is fault 31: the gateway reads coded bodies and sends them upstream as they came. Where an
// edit is due, the body goes uncoded. A decompression bomb stops at the limit.
func TestFault031CodedRequests(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{Limits: aibridge.Limits{RequestBody: 1 << 20}})
	bomb := []byte(`{"model":"fine","messages":["` + strings.Repeat(" ", 8<<20) + `"]}`)
	plain := question{messagesFormat(), false}
	edited := question{chatFormat(), true}
	edited.format.ask = strings.Replace(edited.format.ask, `"stream_options":{"include_usage":true},`, "", 1)
	for coding, encode := range encoders(t) {
		coded := encode([]byte(plain.body(fine)))
		r := s.withBody(t, plain, coded)
		r.Header.Set("Content-Encoding", coding)
		s.check(t, r, answered(plain))
		if prompt := promptOf(s.interception(t, r.UserAgent())); prompt.GetPrompt() != canaryPrompt {
			t.Errorf("%s: prompt %q", coding, prompt.GetPrompt())
		}
		requests := up.requests()
		if last := requests[len(requests)-1]; !bytes.Equal(last.Body, coded) || last.Header.Get("Content-Encoding") != coding {
			t.Errorf("%s: upstream got %d bytes in %q", coding, len(last.Body), last.Header.Get("Content-Encoding"))
		}

		r = s.withBody(t, edited, encode([]byte(edited.body(fine))))
		r.Header.Set("Content-Encoding", coding)
		want := answered(edited)
		events := edited.format.events
		want.body = strings.Join(append(append([]string{}, events[:3]...), events[4]), "") // Without the usage that we asked for.
		s.check(t, r, want)
		requests = up.requests()
		last := requests[len(requests)-1]
		if !strings.Contains(string(last.Body), `"include_usage":true`) || last.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s, edited: upstream got %.300q in %q", coding, last.Body, last.Header.Get("Content-Encoding"))
		}

		r = s.withBody(t, plain, encode(bomb))
		r.Header.Set("Content-Encoding", coding)
		s.check(t, r, refused(413, "request body too large once decoded"))
	}
}

// TestFault038Queries is fault 38: a query goes upstream as it came, and without credentials in any reading; no log holds it.
func TestFault038Queries(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{})
	q := question{messagesFormat(), false}
	for query, want := range map[string]string{
		"beta=true&empty=&flag":            "beta=true&empty=&flag",
		"a=1;b=2&c=3":                      "a=1;b=2&c=3",
		"a=1;api_key=2&c=3":                "a=1&c=3",
		"bad=%zz&c=3":                      "bad=%zz&c=3",
		"key=" + testkit.Token + "&c=3":    "c=3",
		"api%5Fkey=other&API-KEY=more&c=3": "c=3",
		"c=3&x=" + testkit.Token:           "c=3",
		strings.Repeat("p=%41&", 9_999):    strings.Repeat("p=%41&", 9_999),
	} {
		r := s.request(t, q, fine)
		r.URL.RawQuery = query
		s.check(t, r, answered(q))
		requests := up.requests()
		_, got, _ := strings.Cut(requests[len(requests)-1].First, "?")
		if got != want {
			t.Errorf("%.100q went upstream as %.100q, want %.100q", query, got, want)
		}
	}
	r := s.request(t, q, fine)
	r.URL.RawQuery = strings.Repeat("p=%41&", 100_000)
	s.check(t, r, refused(400, "query has too many parameters"))
}

// TestFault041ManyHeaders is fault 41: many or long headers pass, or are refused as too large; other requests are
// served.
func TestFault041ManyHeaders(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{})
	q := question{messagesFormat(), false}
	r := s.request(t, q, fine)
	for i := range 1000 {
		r.Header.Set("X-Many-"+strconv.Itoa(i), "a")
	}
	r.Header.Set("X-"+strings.Repeat("Long", 2048), "a")
	s.check(t, r, answered(q))
	if sent := up.requests()[0].Header; len(sent) < 1000 {
		t.Errorf("%d headers went upstream", len(sent))
	}
	r = s.request(t, q, fine)
	r.Header.Set("X-Large", strings.Repeat("a", 2<<20))
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != 431 {
		t.Errorf("2 MiB of header: status %d", response.StatusCode)
	}
	s.serves(t)
}

// TestFault047RevokedKey is fault 47: a key that was revoked is refused at the next request.
func TestFault047RevokedKey(t *testing.T) {
	t.Parallel()
	var revoked atomic.Bool
	control := &testkit.ControlPlane{}
	control.Authorize = func(context.Context, *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
		if revoked.Load() {
			return nil, errors.New("revoked")
		}
		return &proto.IsAuthorizedResponse{OwnerId: testkit.OwnerID, ApiKeyId: testkit.APIKeyID}, nil
	}
	s, _ := newFine(t, testkit.GatewayOptions{Control: control})
	s.serves(t)
	revoked.Store(true)
	for _, q := range questions() {
		s.check(t, s.request(t, q, fine), refused(403, "unauthorized"))
	}
}

// TestFault048SimilarTokens is fault 48: tokens with the same beginning are two identities.
func TestFault048SimilarTokens(t *testing.T) {
	t.Parallel()
	owners := map[string]string{}
	tokens := []string{strings.Repeat("a", 64) + "1", strings.Repeat("a", 64) + "2", strings.Repeat("a", 64)}
	for _, token := range tokens {
		owners[token] = uuid.NewString()
	}
	control := &testkit.ControlPlane{}
	control.Authorize = func(_ context.Context, r *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
		return &proto.IsAuthorizedResponse{OwnerId: owners[r.GetKey()], ApiKeyId: "same"}, nil
	}
	s, _ := newFine(t, testkit.GatewayOptions{Control: control})
	for _, token := range append(tokens, tokens...) {
		r := s.request(t, question{messagesFormat(), false}, fine)
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		start := s.interception(t, r.UserAgent())[0].GetInterception()
		if start.GetInitiatorId() != owners[token] {
			t.Errorf("a token of %s was taken for %s", owners[token], start.GetInitiatorId())
		}
	}
}

// TestFault058SameKeyTwice is fault 58: two requests with the same idempotency key are sent upstream once each: the
// gateway does not guess whether the second repeats the first.
func TestFault058SameKeyTwice(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{})
	q := question{responsesFormat(), false}
	for range 2 {
		r := s.request(t, q, fine)
		r.Header.Set("Idempotency-Key", "the-same")
		s.check(t, r, answered(q))
	}
	if n := len(up.requests()); n != 2 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

// TestFault059HTTP2Client is fault 59, as far as the gateway goes: a client on HTTP/2 gets its stream. A stream that
// the client resets disturbs no other on the connection. Where the upstream breaks off, the client's stream breaks off
// too.
func TestFault059HTTP2Client(t *testing.T) {
	t.Parallel()
	s, _ := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
		c.Write(q.chunkedHead() + chunk(strings.Join(q.format.events[:2], "")))
		c.Close()
	})
	front := httptest.NewUnstartedServer(s.Server)
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	ask := func(ctx context.Context, q question, model string) (*http.Request, *http.Response, error) {
		r := s.request(t, q, model).WithContext(ctx)
		r.URL.Scheme, r.URL.Host = "https", front.Listener.Addr().String()
		response, err := front.Client().Do(r)
		return r, response, err
	}
	for _, q := range streams() {
		ctx, cancel := context.WithCancel(t.Context())
		_, reset, err := ask(ctx, q, fine)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		_ = reset.Body.Close()
		r, response, err := ask(t.Context(), q, fine)
		if err != nil {
			t.Fatal(err)
		}
		if response.ProtoMajor != 2 {
			t.Errorf("answered over %s", response.Proto)
		}
		s.checkAnswer(t, r, response, answered(q))
		s.checkRecords(t, r, answered(q))
		if r, response, err = ask(t.Context(), q, faulty); err != nil {
			t.Fatal(err)
		}
		s.checkAnswer(t, r, response, broken(q, 2))
		s.checkRecords(t, r, broken(q, 2))
	}
}
