package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/rawserver"
)

// replayServer answers what it reads, except for the second request of a connection: that one it reads to its end, and
// then it ends the connection.
type replayServer struct {
	*rawserver.Server
	mu   sync.Mutex // guards seen.
	seen []string   // Path and body of every request.
	keys []string   // The Idempotency-Key of every request that has one.
}

func newReplayServer(t *testing.T, end func(*rawserver.Conn)) *replayServer {
	s := &replayServer{}
	s.Server = rawserver.New(t, func(c *rawserver.Conn) {
		for n := range 2 {
			r, body := c.ReadRequest()
			if r == nil {
				return
			}
			s.note(r, body)
			if n == 1 {
				end(c)
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

// TestFault005And058NoHiddenReplay ends a reused connection when the upstream has received all of the request, and before
// any byte of an answer: the upstream may have processed it. The cases without the guard show that it is needed.
func TestFault005And058NoHiddenReplay(t *testing.T) {
	for name, end := range map[string]func(*rawserver.Conn){
		"closed": (*rawserver.Conn).Close,
		// An acknowledgement may take 40 ms: a reset before that is not told from that of a closed connection.
		"reset": func(c *rawserver.Conn) { <-time.After(200 * time.Millisecond); c.Reset() },
		"half":  func(c *rawserver.Conn) { c.CloseWrite(); _, _ = c.Read(make([]byte, 1)) },
	} {
		t.Run(name, func(t *testing.T) { noHiddenReplay(t, end) })
	}
}

func noHiddenReplay(t *testing.T, end func(*rawserver.Conn)) {
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
			server := newReplayServer(t, end)
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

// raceServer answers the first request of each connection and closes the connection about when the next one arrives, in a way
// that changes. It reads each request to its end, or nothing of it, and notes those that it has read.
type raceServer struct {
	*rawserver.Server
	ending sync.WaitGroup // For what is noted of connections when they have ended.

	mu     sync.Mutex           // guards what follows.
	read   map[string]int       // How often each body was read.
	dialed map[string]time.Time // When the client began to make each connection, by the client's address.
	acked  map[string]bool      // The connections on which a request may have been acknowledged unread.
}

// leastDelay is the age of a connection up to which Linux acknowledges nothing that its program has not read. It holds back an
// acknowledgement for 40 ms by a clock of up to 10 ms, but not on a connection whose program took as long for an answer.
const leastDelay = 25 * time.Millisecond

func newRaceServer(t *testing.T) *raceServer {
	s := &raceServer{read: map[string]int{}, dialed: map[string]time.Time{}, acked: map[string]bool{}}
	var number atomic.Int64
	s.Server = rawserver.New(t, func(c *rawserver.Conn) {
		r, body := c.ReadRequest()
		if r == nil {
			return
		}
		s.ending.Add(1)
		defer s.ending.Done()
		s.mu.Lock()
		s.read[string(body)]++
		s.mu.Unlock()
		c.Write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		n := number.Add(1)
		for range n * 7919 % 20000 { // Up to some ten microseconds: the next request comes meanwhile, or not.
			runtime.KeepAlive(n)
		}
		if n%3 == 0 {
			c.Reset()
		} else {
			c.Close()
		}
		closed := time.Now()
		s.mu.Lock()
		defer s.mu.Unlock()
		if closed.Sub(s.dialed[c.Client()]) > leastDelay { // The machine is busy.
			s.acked[c.Client()] = true
		}
	})
	return s
}

// noting has a transport note when it begins to make each connection.
func (s *raceServer) noting(transport *http.Transport) {
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		began := time.Now()
		conn, err := dial(ctx, network, address)
		if err == nil {
			s.mu.Lock()
			s.dialed[conn.LocalAddr().String()] = began
			s.mu.Unlock()
		}
		return conn, err
	}
}

// TestIdleCloseRaces sends thousands of requests to an upstream that closes each connection about when the next request
// arrives there. None is read twice, and none fails but those that the upstream's system may have acknowledged, as the comment
// on Transport says.
func TestIdleCloseRaces(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system does not tell what an upstream has acknowledged")
	}
	server := newRaceServer(t)
	transport := newTransport(t, Limits{})
	server.noting(transport.Transport)
	var fresh atomic.Int64
	dial := transport.fresh().DialContext
	transport.fresh().DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		fresh.Add(1)
		return dial(ctx, network, address)
	}
	next := Idle(Guard(transport), 0)
	const clients, requests = 4, 1500
	failed := make([]map[string]error, clients) // By the address of the client's connection.
	var running sync.WaitGroup
	for client := range clients {
		failed[client] = map[string]error{}
		running.Go(func() {
			for n := range requests {
				body := fmt.Sprintf("prompt %d of %d", n, client)
				if n%100 == 99 {
					body += strings.Repeat("x", 300<<10) // More than one write, and more than a socket holds.
				}
				var used string
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
					GotConn: func(info httptrace.GotConnInfo) { used = info.Conn.LocalAddr().String() },
				})
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL(), strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Idempotency-Key", "client-1")
				resp, err := next.RoundTrip(r)
				if err != nil {
					failed[client][used] = fmt.Errorf("request %d of %d: %w", n, client, err)
					continue
				}
				if got, err := readAll(resp); err != nil || got != "ok" {
					t.Errorf("request %d: %q, %v", n, got, err)
				}
			}
		})
	}
	running.Wait()
	server.ending.Wait()
	for body, n := range server.read {
		if n != 1 {
			t.Errorf("%.30q was read %d times", body, n)
		}
	}
	want := clients * requests
	for _, failures := range failed {
		for used, err := range failures {
			want--
			if !server.acked[used] {
				failure, _ := errors.AsType[*apierror.Error](err)
				t.Errorf("%v: %v", err, failure.Cause)
			}
		}
	}
	if len(server.read) != want {
		t.Errorf("%d requests were read, want %d", len(server.read), want)
	}
	t.Logf("%d of %d requests were sent again, and %d failed on %d connections that the upstream had for too long",
		fresh.Load(), clients*requests, clients*requests-want, len(server.acked))
	if fresh.Load() == 0 {
		t.Error("no request met a connection that was closed: this test shows nothing")
	}
}

// TestIdleTimeoutRaces sends requests to servers of net/http whose idle timeout is about as long as the pause between
// requests, with and without TLS.
func TestIdleTimeoutRaces(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system does not tell what an upstream has acknowledged")
	}
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			var served atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				served.Add(1)
				_, _ = io.WriteString(w, "ok")
			}))
			server.Config.IdleTimeout = 150 * time.Microsecond
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			transport := newTransport(t, Limits{})
			transport.ForceAttemptHTTP2 = false
			if secure {
				server.StartTLS()
				transport.TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			next := Idle(Guard(transport), 0)
			const requests = 1000
			failed := int64(0)
			for n := range requests {
				resp, err := next.RoundTrip(request(t, http.MethodPost, server.URL, "prompt"))
				if err != nil {
					failed++
				} else if got, err := readAll(resp); err != nil || got != "ok" {
					t.Errorf("request %d: %q, %v", n, got, err)
				}
				for range n * 7919 % 100_000 { // Up to some ten microseconds.
					runtime.KeepAlive(n)
				}
			}
			if got := served.Load(); got != requests-failed {
				t.Errorf("%d requests were served, want %d", got, requests-failed)
			}
			// See the race that is lost in the comment on Transport. On this machine it is as likely as it can be.
			if failed > 0 && !secure || failed > requests/4 {
				t.Errorf("%d requests failed", failed)
			}
			t.Logf("%d requests failed", failed)
		})
	}
}
