package upstream

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/aibridged/internal/rawserver"
)

// replayServer answers what it reads, except for the second request of a connection: that one it reads to its end, and
// then resets the connection.
type replayServer struct {
	*rawserver.Server
	mu   sync.Mutex // guards seen.
	seen []string   // Path and body of every request.
	keys []string   // The Idempotency-Key of every request that has one.
}

func newReplayServer(t *testing.T) *replayServer {
	s := &replayServer{}
	s.Server = rawserver.New(t, func(c *rawserver.Conn) {
		for n := range 2 {
			r, body := c.ReadRequest()
			if r == nil {
				return
			}
			s.note(r, body)
			if n == 1 {
				c.Reset()
				return
			}
			c.Write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	return s
}

func (s *replayServer) note(r *http.Request, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r.URL.Path+" "+string(body))
	if key := r.Header.Get("Idempotency-Key") + r.Header.Get("X-Idempotency-Key"); key != "" {
		s.keys = append(s.keys, key)
	}
}

// count returns how often a request has been sent.
func (s *replayServer) count(request string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, seen := range s.seen {
		if seen == request {
			n++
		}
	}
	return n
}

// TestFault005And058NoHiddenReplay resets a reused connection after the request and before any byte of an answer. The
// cases without the guard show that it is needed.
func TestFault005And058NoHiddenReplay(t *testing.T) {
	// http.NewRequest gives a request in memory a GetBody; a request that a server read has none.
	streamed := func(r *http.Request) { r.Body, r.GetBody = io.NopCloser(strings.NewReader("prompt")), nil }
	idempotent := func(r *http.Request) { r.Header.Set("Idempotency-Key", "client-1") }
	extended := func(r *http.Request) { r.Header.Set("X-Idempotency-Key", "client-1") }

	cases := []struct {
		name    string
		bare    bool
		method  string
		body    string
		prepare []func(*http.Request)
		sends   int
	}{
		{name: "in memory", method: http.MethodPost, body: "prompt", sends: 1},
		{name: "streamed", method: http.MethodPost, body: "prompt", prepare: []func(*http.Request){streamed}, sends: 1},
		{name: "with key", method: http.MethodPost, body: "prompt", prepare: []func(*http.Request){idempotent}, sends: 1},
		{
			name: "streamed with key", method: http.MethodPost, body: "prompt",
			prepare: []func(*http.Request){streamed, idempotent}, sends: 1,
		},
		{name: "no body, with key", method: http.MethodPost, prepare: []func(*http.Request){idempotent}, sends: 1},
		{name: "no body, with x-key", method: http.MethodPost, prepare: []func(*http.Request){extended}, sends: 1},
		{name: "no body", method: http.MethodPost, sends: 1},

		{
			name: "bare, with key", bare: true, method: http.MethodPost, body: "prompt",
			prepare: []func(*http.Request){idempotent}, sends: 2,
		},
		{
			name: "bare, no body, with key", bare: true, method: http.MethodPost,
			prepare: []func(*http.Request){idempotent}, sends: 2,
		},
		// HTTP allows that, and nothing is paid for twice.
		{name: "GET", method: http.MethodGet, sends: 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			server := newReplayServer(t)
			var next http.RoundTripper = newTransport(t, Limits{})
			if !c.bare {
				next = Idle(Guard(next), 0)
			}
			answer(t, next, request(t, http.MethodPost, server.URL()+"/first", "first"))

			r := request(t, c.method, server.URL()+"/second", c.body)
			for _, prepare := range c.prepare {
				prepare(r)
			}
			header, getBody := r.Header.Clone(), r.GetBody != nil
			if c.sends == 1 {
				if failure := wantFailure(t, next, r, http.StatusBadGateway); failure.Text != textFailed {
					t.Errorf("text %q", failure.Text)
				}
			} else {
				answer(t, next, r)
			}
			if got := server.count("/second " + c.body); got != c.sends {
				t.Errorf("the upstream saw the request %d times, want %d", got, c.sends)
			}
			checkUntouched(t, r, header, getBody)
			server.checkKeys(t, header)
		})
	}
}

// checkKeys checks that an idempotency key of the client's reached the upstream.
func (s *replayServer) checkKeys(t *testing.T, header http.Header) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	key := header.Get("Idempotency-Key") + header.Get("X-Idempotency-Key")
	if key != "" && !slices.Contains(s.keys, key) {
		t.Errorf("the upstream saw the keys %q, want %q", s.keys, key)
	}
}

// checkUntouched checks that the caller's request is what it was: a RoundTripper changes nothing of it.
func checkUntouched(t *testing.T, r *http.Request, header http.Header, getBody bool) {
	t.Helper()
	if (r.GetBody != nil) != getBody {
		t.Error("the caller's GetBody has changed")
	}
	for name, values := range header {
		if !slices.Equal(r.Header[name], values) {
			t.Errorf("the caller's header %s has changed from %q to %q", name, values, r.Header[name])
		}
	}
	if len(r.Header) != len(header) {
		t.Errorf("the caller's headers have changed from %v to %v", header, r.Header)
	}
}
