package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
)

// conns is a listener for connections within a synctest bubble.
type conns struct {
	made   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (c *conns) Accept() (net.Conn, error) {
	select {
	case conn := <-c.made:
		return conn, nil
	case <-c.closed:
		return nil, net.ErrClosed
	}
}

func (c *conns) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (*conns) Addr() net.Addr { return &net.TCPAddr{} }

// inMemory runs a test with a server that has a limit of connections, on the clock of a synctest bubble. Each request is
// answered with "served", those for /long after release is closed.
func inMemory(t *testing.T, limit int, test func(t *testing.T, c *connections, dial func() net.Conn, release func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		counted := newConnections(limit, slog.Logger{})
		ended := make(chan struct{})
		server := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/long" {
				<-ended
			}
			_, _ = io.WriteString(w, "served")
		}), counted, slog.Logger{})
		listener := &conns{made: make(chan net.Conn), closed: make(chan struct{})}
		var running sync.WaitGroup
		running.Go(func() { _ = server.Serve(listener) })
		var all []net.Conn
		test(t, counted, func() net.Conn {
			client, conn := net.Pipe()
			all = append(all, client)
			listener.made <- conn
			synctest.Wait()
			return client
		}, func() { close(ended) })
		_ = server.Close()
		for _, client := range all {
			_ = client.Close()
		}
		running.Wait()
		synctest.Wait()
		if n := counted.open.Load(); n != 0 {
			t.Errorf("%d connections count as open at the end", n)
		}
	})
}

// askOn sends a request on a connection and returns the status of the answer, or zero if there is none.
func askOn(t *testing.T, conn net.Conn, path string) (status int, response *http.Response, body string) {
	t.Helper()
	go func() { _, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: gateway\r\n\r\n", path) }() // A pipe waits for its reader.
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, nil, ""
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, response, string(text)
}

// TestFault060Connections is fault 60: a connection beyond the limit gets a fast 503 with Retry-After in the shape of the
// API, and those within it are served. When one of them ends, another is served.
func TestFault060Connections(t *testing.T) {
	inMemory(t, 2, func(t *testing.T, c *connections, dial func() net.Conn, release func()) {
		first, busy := dial(), dial()
		if status, _, body := askOn(t, first, "/v1/messages"); status != 200 || body != "served" {
			t.Errorf("the first: %d %s", status, body)
		}
		answered := make(chan int, 1)
		go func() {
			status, _, _ := askOn(t, busy, "/long")
			answered <- status
		}()
		synctest.Wait()
		began := time.Now()
		status, response, body := askOn(t, dial(), "/anthropic/v1/messages")
		if status != 503 || response.Header.Get("Retry-After") != "1" || !response.Close ||
			body != `{"type":"error","error":{"type":"overloaded_error","message":"the gateway has too many connections, try again"}}` {
			t.Errorf("beyond the limit: %d %v %s", status, response, body)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("refused after %v", took)
		}
		if status, _, _ := askOn(t, dial(), "/readyz"); status != 503 {
			t.Errorf("readyz beyond the limit: %d", status)
		}
		if status, _, _ := askOn(t, dial(), "/healthz"); status != 200 {
			t.Errorf("healthz beyond the limit: %d", status)
		}
		if status, _, _ := askOn(t, first, "/v1/messages"); status != 200 {
			t.Errorf("the first, again: %d", status)
		}
		release()
		if status := <-answered; status != 200 {
			t.Errorf("the long one: %d", status)
		}
		_ = busy.Close()
		synctest.Wait()
		if status, _, _ := askOn(t, dial(), "/v1/messages"); status != 200 {
			t.Errorf("after one has ended: %d", status)
		}
		if refused := c.refused.Load(); refused != 3 {
			t.Errorf("%d refused", refused)
		}
	})
}

// TestFault054SlowHeads is fault 54: clients that send the head of a request by the byte, that send nothing, and that
// keep connections idle take up the limit for seconds or minutes, not for ever. What comes beyond the limit meanwhile
// is refused, and what comes far beyond it is closed at once.
func TestFault054SlowHeads(t *testing.T) {
	inMemory(t, 4, func(t *testing.T, c *connections, dial func() net.Conn, _ func()) {
		for i := range 4 {
			slow := dial()
			go func() { _, _ = io.Copy(io.Discard, slow) }()
			go func() {
				head := "GET / HTTP/1.1\r\nHost: gateway\r\n"
				for _, b := range head + strings.Repeat("x", 1000) {
					if i > 0 { // The first sends nothing at all.
						if _, err := slow.Write([]byte{byte(b)}); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}
			}()
		}
		if status, _, _ := askOn(t, dial(), "/"); status != 503 {
			t.Errorf("while slow clients hold the limit: %d", status)
		}
		for range c.refusing {
			dial()
		}
		over := dial()
		if _, err := over.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("far beyond the limit: %v", err)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := c.open.Load(); n != 0 {
			t.Errorf("%d connections are left after 11 s", n)
		}
		for range 4 { // Idle ones.
			if status, _, _ := askOn(t, dial(), "/"); status != 200 {
				t.Errorf("after the slow clients: %d", status)
			}
		}
		if status, _, _ := askOn(t, dial(), "/"); status != 503 {
			t.Errorf("while idle clients hold the limit: %d", status)
		}
		time.Sleep(2*time.Minute + time.Second)
		if status, _, _ := askOn(t, dial(), "/"); status != 200 {
			t.Errorf("after the idle clients: %d", status)
		}
	})
}

// TestFault054ManySlowClients is fault 54 with many clients that never finish the head of their request: others are served
// at once.
func TestFault054ManySlowClients(t *testing.T) {
	inMemory(t, 3000, func(t *testing.T, _ *connections, dial func() net.Conn, _ func()) {
		for range 2000 {
			slow := dial()
			go func() { _, _ = io.WriteString(slow, "POST / HTTP/1.1\r\nHost: gateway\r\nX-Slow: ") }()
		}
		began := time.Now()
		for range 100 {
			if status, _, _ := askOn(t, dial(), "/"); status != 200 || time.Since(began) > 0 {
				t.Errorf("%d after %v", status, time.Since(began))
			}
		}
	})
}

// TestFault054UnreadBody is fault 54 with a request whose body never comes and that no handler reads: it is answered, and
// its connection ends, within half a minute, also beyond the limit of connections.
func TestFault054UnreadBody(t *testing.T) {
	for limit, want := range map[int]int{0: 503, 1: 200} {
		for _, framing := range []string{"Content-Length: 9", "Transfer-Encoding: chunked"} {
			inMemory(t, limit, func(t *testing.T, c *connections, dial func() net.Conn, _ func()) {
				conn := dial()
				began := time.Now()
				go func() { _, _ = fmt.Fprintf(conn, "POST /x HTTP/1.1\r\nHost: gateway\r\n%s\r\n\r\n", framing) }()
				reader := bufio.NewReader(conn)
				response, err := http.ReadResponse(reader, nil)
				if err != nil || response.StatusCode != want {
					t.Fatalf("%s: %v, %v, want %d", framing, response, err, want)
				}
				_, _ = io.Copy(io.Discard, reader)
				if took := time.Since(began); took > unreadBody+time.Second {
					t.Errorf("%s: %d, ended after %v", framing, want, took)
				}
				synctest.Wait() // The connection is counted down once it is closed.
				if n := c.open.Load(); n != 0 {
					t.Errorf("%s: %d connections are open", framing, n)
				}
			})
		}
	}
}

// TestFault060HTTP2 is fault 60 over HTTP/2: a connection beyond the limit gets a 503, and ends.
func TestFault060HTTP2(t *testing.T) {
	s := serveHere(t, "--max-connections", "1")
	first, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if status, _, _ := askOn(t, first, "/healthz"); status != 200 { // So that it is counted.
		t.Fatal(status)
	}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	ask := func() int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+"/anthropic/v1/messages", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil || response.ProtoMajor != 2 {
			t.Errorf("%s, %v", response.Proto, err)
		}
		return response.StatusCode
	}
	if status := ask(); status != 503 {
		t.Errorf("beyond the limit: %d", status)
	}
	// Operators are not held up by clients.
	if metrics := s.metrics(t); !strings.Contains(metrics, "\naibridged_connections_refused_total 1\n") || !strings.Contains(metrics, "\naibridged_connections_max 1\n") {
		t.Error("the metrics do not say so")
	}
	_ = first.Close()
	for status := 503; status == 503; { // Until the gateway has noticed that the first one ended.
		status = ask()
		if status != 503 && status != 400 {
			t.Errorf("within the limit: %d", status)
		}
	}
}

func TestDefaultConnections(t *testing.T) {
	for descriptors, want := range map[uint64]int{0: mostConnections, 100: 16, 1024: 384, 20_000: 9872, 1 << 20: mostConnections, 1<<63 - 1: mostConnections, 1<<64 - 1: mostConnections} {
		if got := defaultConnections(descriptors); got != want {
			t.Errorf("%d descriptors: %d connections, want %d", descriptors, got, want)
		}
	}
}
