package aibridged_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/rawserver"
	"github.com/coder/aibridged/internal/testkit"
)

// dial returns a bare connection to the gateway, for requests that no HTTP client would send.
func (s *site) dial(t *testing.T) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", s.HTTP.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn), bufio.NewReader(conn)
}

// raw is a request as it goes over a connection.
func (s *site) raw(q question, model string) string {
	body := q.body(model)
	return fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: gateway\r\nUser-Agent: %s\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		aibridge.RootPath, q.format.path, s.agent(), testkit.Token, len(body), body)
}

// TestFault036Targets is fault 36: a request whose target is no path of the gateway is refused, and nothing is
// forwarded.
func TestFault036Targets(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{})
	const rest = " HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nX-Api-Key: " + testkit.Token + "\r\nContent-Length: 0\r\n\r\n"
	for line, want := range map[string]int{
		"POST http://elsewhere.example/anthropic/v1/messages": 400,
		"CONNECT elsewhere.example:443":                       405,
		"TRACE /anthropic/v1/messages":                        405,
		"BREW /anthropic/v1/messages":                         405,
		"OPTIONS *":                                           200, // net/http answers this itself; no handler is asked.
	} {
		conn, reader := s.dial(t)
		if _, err := io.WriteString(conn, line+rest); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", line, response.StatusCode, want)
		}
	}
	if n := len(up.requests()); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

// TestFault039Smuggling is fault 39: a request that two servers could read differently is refused, or read in one way,
// and the bytes after it never become a second request upstream.
func TestFault039Smuggling(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{})
	q := question{messagesFormat(), false}
	body := q.body(fine)
	head := "POST " + aibridge.RootPath + q.format.path + " HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: " + testkit.Token + "\r\n"
	smuggled := "POST /smuggled HTTP/1.1\r\nHost: gateway\r\n\r\n"
	for name, request := range map[string]string{
		"two lengths":        head + "Content-Length: 3\r\nContent-Length: 5\r\n\r\n" + body,
		"bad length":         head + "Content-Length: 0x10\r\n\r\n" + body,
		"bad chunk size":     head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body,
		"unknown coding":     head + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + smuggled,
		"space before colon": head + "Content-Length : 3\r\n\r\n" + body,
		"no host":            strings.Replace(head, "Host: gateway\r\n", "", 1) + "Content-Length: 0\r\n\r\n",
		"two hosts":          head + "Host: elsewhere\r\nContent-Length: 0\r\n\r\n",
		"control in header":  head + "X-Odd: a\x00b\r\nContent-Length: 0\r\n\r\n",
	} {
		conn, reader := s.dial(t)
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			continue // The connection was closed, which refuses too.
		}
		if response.StatusCode != 400 && response.StatusCode != 501 {
			t.Errorf("%s: %d", name, response.StatusCode)
		}
	}
	for _, sent := range up.requests() {
		if string(sent.Body) != body || !strings.HasSuffix(sent.First, "/v1/messages") {
			t.Errorf("the upstream got %q with %.200q", sent.First, sent.Body)
		}
	}
}

// TestFault039TransferEncoding is the rest of fault 39: a request with a Transfer-Encoding is answered, with or without a
// Content-Length beside it, and is the last on its connection: what follows may be what another server took for its
// body. The same holds for every request over HTTP/1.0, and for requests that are refused.
func TestFault039TransferEncoding(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{})
	q := question{messagesFormat(), false}
	body := q.body(fine)
	for name, test := range map[string]struct {
		line, header, body string
		status             int
		keeps              bool
	}{
		"chunks":               {"POST " + q.format.path + " HTTP/1.1", "Transfer-Encoding: chunked", chunk(body) + "0\r\n\r\n", 200, false},
		"chunks with trailers": {"POST " + q.format.path + " HTTP/1.1", "Transfer-Encoding: chunked\r\nTrailer: X-A", chunk(body) + "0\r\nX-A: b\r\n\r\n", 200, false},
		"a length, then coded": {"POST " + q.format.path + " HTTP/1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked", chunk(body) + "0\r\n\r\n", 200, false},
		"coded, then a length": {"POST " + q.format.path + " HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 5", chunk(body) + "0\r\n\r\n", 200, false},
		"kept alive, coded":    {"POST " + q.format.path + " HTTP/1.1", "Connection: keep-alive\r\nTransfer-Encoding: chunked", chunk(body) + "0\r\n\r\n", 200, false},
		"passed through":       {"POST /anthropic/v1/messages/count_tokens HTTP/1.1", "Transfer-Encoding: chunked", chunk(body) + "0\r\n\r\n", 200, false},
		"no such provider":     {"POST /nobody/v1/messages HTTP/1.1", "Transfer-Encoding: chunked", chunk(body) + "0\r\n\r\n", 404, false},
		"an empty body":        {"POST " + q.format.path + " HTTP/1.1", "Transfer-Encoding: chunked", "0\r\n\r\n", 400, false},
		"HTTP/1.0, coded":      {"POST " + q.format.path + " HTTP/1.0", "Connection: keep-alive\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\nTransfer-Encoding: chunked", body, 200, false},
		"HTTP/1.0, no length":  {"POST " + q.format.path + " HTTP/1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked", "", 400, false},
		"HTTP/1.0":             {"POST " + q.format.path + " HTTP/1.0", "Connection: keep-alive\r\nContent-Length: " + strconv.Itoa(len(body)), body, 200, false},
		"a length":             {"POST " + q.format.path + " HTTP/1.1", "Content-Length: " + strconv.Itoa(len(body)), body, 200, true},
	} {
		conn, reader := s.dial(t)
		head := test.line + "\r\nHost: gateway\r\nX-Api-Key: " + testkit.Token + "\r\n"
		before := len(up.requests())
		if _, err := io.WriteString(conn, head+test.header+"\r\n\r\n"+test.body+s.raw(q, fine)); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		if response.StatusCode != test.status || response.Close == test.keeps {
			t.Errorf("%s: status %d, want %d; the connection ends: %t", name, response.StatusCode, test.status, response.Close)
		}
		_, err = http.ReadResponse(reader, nil)
		if keeps := err == nil; keeps != test.keeps {
			t.Errorf("%s: another request was answered: %t", name, keeps)
		}
		want := 0
		if test.status == 200 {
			want++
		}
		if test.keeps {
			want++
		}
		if got := len(up.requests()) - before; got != want {
			t.Errorf("%s: the upstream was asked %d times, want %d", name, got, want)
		}
	}
}

// TestFault037Hosts is fault 37: a request whose Host is none is refused in the shape of the API, before it is known who
// asks. All others are served.
func TestFault037Hosts(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{})
	for _, host := range []string{
		"a?b", "a#b", "a/b", "", "user@gateway", "a b", "gateway:port", "gateway:99999", "gateway:", "[::1", "a..b", "a%2fb", "gateway,elsewhere", "1.2.3.4.5", "<a>",
	} {
		for _, q := range streams() {
			conn, reader := s.dial(t)
			request := strings.Replace(s.raw(q, fine), "Host: gateway", "Host: "+host, 1)
			request = strings.Replace(request, testkit.Token, "wrong", 1)
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatalf("%q: %v", host, err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != 400 {
				t.Errorf("%q: %d, %v", host, response.StatusCode, err)
			}
			if response.Header.Get("Content-Type") != "application/json" {
				continue // Net/http itself refused it.
			}
			if text := shapes()[q.format.path](t, body); !strings.HasPrefix(text, "the request") || host != "" && strings.Contains(text, host) {
				t.Errorf("%q: %q", host, text)
			}
		}
	}
	if n := len(up.requests()); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
	for _, host := range []string{"gateway", "Gateway.example.:443", "my_gateway:4001", "[::1]:4001", "127.0.0.1", "xn--bcher-kva.example"} {
		conn, reader := s.dial(t)
		if _, err := io.WriteString(conn, strings.Replace(s.raw(question{messagesFormat(), true}, fine), "Host: gateway", "Host: "+host, 1)); err != nil {
			t.Fatal(err)
		}
		if response, err := http.ReadResponse(reader, nil); err != nil || response.StatusCode != 200 {
			t.Errorf("%q: %v, %v", host, response, err)
		}
	}
}

// TestFault051Disconnect is fault 51: when a client leaves, before the answer or within it, the upstream request is
// cancelled at once, and what is known by then is recorded.
func TestFault051Disconnect(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]int{"before the answer": 0, "within it": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked, left := make(chan struct{}), make(chan struct{})
			s, _ := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
				if sent > 0 {
					c.Write(q.chunkedHead() + chunk(strings.Join(q.format.events[:sent], "")))
				}
				asked <- struct{}{}
				_, _ = c.Read(make([]byte, 1)) // Returns when the gateway hangs up.
				left <- struct{}{}
			})
			for _, q := range streams() {
				ctx, cancel := context.WithCancel(t.Context())
				r := s.request(t, q, faulty).WithContext(ctx)
				read, ended := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(ended)
					response, err := s.client.Do(r)
					if err != nil {
						return
					}
					if _, err := io.ReadFull(response.Body, make([]byte, len(strings.Join(q.format.events[:sent], "")))); err != nil {
						t.Errorf("%v: %v", q, err)
					}
					close(read)
					_, _ = io.Copy(io.Discard, response.Body) // Until cancel.
					_ = response.Body.Close()
				}()
				<-asked
				if sent > 0 {
					<-read
				}
				cancel()
				<-left
				<-ended
				want := want{ended: aibridge.ErrorClientClosed}
				if sent > 0 && q.format.name == "messages" {
					want.usage = "12/1 partial"
				}
				s.checkRecords(t, r, want)
			}
			s.serves(t)
		})
	}
}

// TestFault052HalfClose is fault 52: net/http cannot tell a client that closes its sending side from one that has left,
// and so neither can the gateway: the request ends as client_closed.
func TestFault052HalfClose(t *testing.T) {
	t.Parallel()
	began, release := make(chan struct{}), make(chan struct{})
	s, _ := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, _ question) {
		close(began)
		_, _ = c.Read(make([]byte, 1))
		close(release)
	})
	q := question{messagesFormat(), true}
	conn, _ := s.dial(t)
	if _, err := io.WriteString(conn, s.raw(q, faulty)); err != nil {
		t.Fatal(err)
	}
	<-began
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-release
	records := s.Control.WaitEnds(t, 1)
	if end := records[len(records)-1].GetInterceptionEnded(); end.GetErrorType() != string(aibridge.ErrorClientClosed) {
		t.Errorf("ended as %v", end)
	}
	s.serves(t)
}

// TestFault053StalledReader is fault 53: when a client stops reading, the gateway cancels it and its upstream request
// at the write limit.
func TestFault053StalledReader(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	s, _ := newFaulty(t, testkit.GatewayOptions{Limits: aibridge.Limits{Write: 200 * time.Millisecond}}, func(c *rawserver.Conn, q question) {
		defer close(left)
		c.Write(q.chunkedHead())
		piece := chunk(": " + strings.Repeat("x", 64<<10) + "\n\n")
		for range 4096 { // 256 MiB: more than any socket holds.
			if !c.TryWrite(piece) {
				return
			}
		}
		t.Error("the gateway took everything from the upstream")
	})
	conn, _ := s.dial(t)
	if _, err := io.WriteString(conn, s.raw(question{messagesFormat(), true}, faulty)); err != nil {
		t.Fatal(err)
	}
	<-left
	records := s.Control.WaitEnds(t, 1)
	end := records[len(records)-1].GetInterceptionEnded()
	if end.GetErrorType() != string(aibridge.ErrorClientClosed) || end.GetErrorMessage() != "the client stopped reading" {
		t.Errorf("ended as %v", end)
	}
	s.serves(t)
}

// TestFault054SlowBody is fault 54: a client that pauses within its body for too long is refused; others are served.
func TestFault054SlowBody(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{Limits: aibridge.Limits{RequestBodyIdle: 200 * time.Millisecond}})
	conn, reader := s.dial(t)
	request := s.raw(question{messagesFormat(), true}, fine)
	if _, err := io.WriteString(conn, request[:len(request)-10]); err != nil {
		t.Fatal(err)
	}
	s.serves(t)
	asked := len(up.requests())
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 408 {
		t.Errorf("status %d", response.StatusCode)
	}
	if n := len(up.requests()); n != asked {
		t.Error("half a request went upstream")
	}
}

// TestFault054BodyRate is fault 54: a client that sends its body by the byte is refused, however often a byte comes,
// on a bridged route and on one that is passed through. One that sends slowly, 1 KB a second, is served. The test runs
// on the clock of a synctest bubble.
func TestFault054BodyRate(t *testing.T) {
	for path, pieces := range map[string]struct{ drip, slow string }{
		"/anthropic/v1/messages":              {"x", strings.Repeat(" ", 1000)},
		"/anthropic/v1/messages/count_tokens": {"x", strings.Repeat(" ", 1000)},
	} {
		for want, piece := range map[int]string{408: pieces.drip, 200: pieces.slow} {
			synctest.Test(t, func(t *testing.T) {
				upstream := upstreamFunc(func(r *http.Request) (*http.Response, error) {
					_, err := io.Copy(io.Discard, r.Body)
					return &http.Response{
						StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}},
						Body: io.NopCloser(strings.NewReader("{}")), ContentLength: 2, Request: r,
					}, err
				})
				conn, end := serveInMemory(t, newMemoryServer(t, controlplane.InProcess(&testkit.ControlPlane{}), upstream))
				defer end()
				const seconds = 60
				rest := question{messagesFormat(), false}.body(fine)
				began := time.Now()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: %s\r\nContent-Length: %d\r\n\r\n",
						path, testkit.Token, seconds*len(piece)+len(rest))
					for range seconds {
						if err != nil {
							return
						}
						time.Sleep(time.Second)
						_, err = io.WriteString(conn, piece)
					}
					_, _ = io.WriteString(conn, rest)
				}()
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || response.StatusCode != want {
					t.Errorf("%s: %v, %v, want %d", path, response, err, want)
				}
				if took := time.Since(began); want == 408 && took > 11*time.Second || want == 200 && took < seconds*time.Second {
					t.Errorf("%s: %d after %v", path, want, took)
				}
				_ = conn.Close()
				<-sent
			})
		}
	}
}

// TestFault056Expect is fault 56: Expect: 100-continue is honoured, and any other expectation is refused.
func TestFault056Expect(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{})
	q := question{messagesFormat(), false}
	conn, reader := s.dial(t)
	head, body, _ := strings.Cut(s.raw(q, fine), "\r\n\r\n")
	if _, err := io.WriteString(conn, head+"\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil || response.StatusCode != 100 {
		t.Fatalf("before the body: %v, %v", response, err)
	}
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	if response, err = http.ReadResponse(reader, nil); err != nil || response.StatusCode != 200 {
		t.Fatalf("after the body: %v, %v", response, err)
	}
	if got := up.requests()[0].Header.Get("Expect"); got != "" {
		t.Errorf("the upstream was asked to expect %q", got)
	}
	conn, reader = s.dial(t)
	if _, err := io.WriteString(conn, head+"\r\nExpect: miracles\r\n\r\n"+body); err != nil {
		t.Fatal(err)
	}
	if response, err = http.ReadResponse(reader, nil); err != nil || response.StatusCode != 417 {
		t.Errorf("another expectation: %v, %v", response, err)
	}
}

// TestFault057Pipelined is fault 57: requests that come before the answers are answered in their order.
func TestFault057Pipelined(t *testing.T) {
	t.Parallel()
	s, _ := newFine(t, testkit.GatewayOptions{})
	conn, reader := s.dial(t)
	var all strings.Builder
	for _, q := range questions() {
		all.WriteString(s.raw(q, fine))
	}
	if _, err := io.WriteString(conn, all.String()); err != nil {
		t.Fatal(err)
	}
	for _, q := range questions() {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || string(body) != q.answer() {
			t.Errorf("%v: %.100q, %v", q, body, err)
		}
	}
}

// TestFault057BrokenStream is the rest of fault 57: after a stream that broke off, an early request on the same
// connection gets no answer, since the client could not tell where it begins.
func TestFault057BrokenStream(t *testing.T) {
	t.Parallel()
	s, up := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
		c.Write(q.chunkedHead() + chunk(q.format.events[0]))
		c.Close()
	})
	for i, q := range streams() {
		conn, reader := s.dial(t)
		if _, err := io.WriteString(conn, s.raw(q, faulty)+s.raw(q, fine)); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if string(body) != q.format.events[0] || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v: got %q, %v", q, body, err)
		}
		if rest, err := io.ReadAll(reader); len(rest) > 0 || err != nil {
			t.Errorf("%v: behind it came %q, %v", q, rest, err)
		}
		if n := len(up.requests()); n != i+1 {
			t.Errorf("%v: the upstream was asked %d times", q, n)
		}
	}
	s.serves(t)
}

// TestFault027EarlyRefusal is fault 27 on a bare connection: a body whose Content-Length is too large, or that has
// grown too large, is refused before all of it has come.
func TestFault027EarlyRefusal(t *testing.T) {
	t.Parallel()
	s, up := newFine(t, testkit.GatewayOptions{Limits: aibridge.Limits{RequestBody: 4096}})
	for name, rest := range map[string]string{
		"with a length":    "Content-Length: 99999999999\r\n\r\n{",
		"without a length": "Transfer-Encoding: chunked\r\n\r\n" + chunk(strings.Repeat(" ", 4097)),
	} {
		conn, reader := s.dial(t)
		head, _, _ := strings.Cut(s.raw(question{messagesFormat(), true}, fine), "Content-Length")
		if _, err := io.WriteString(conn, head+rest); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != 413 {
			t.Errorf("%s: %v, %v", name, response, err)
		}
	}
	if n := len(up.requests()); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
	s.serves(t)
}

// pipes is a listener for connections within a synctest bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }
func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

// serveInMemory serves a gateway without a network, and returns a connection to it. End closes the gateway.
func serveInMemory(t *testing.T, gateway *aibridged.Server) (client net.Conn, end func()) {
	t.Helper()
	listener := &pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: gateway, ReadHeaderTimeout: time.Second}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) }) // Ends with Close.
	client, conn := net.Pipe()
	listener.conns <- conn
	return client, func() {
		_, _ = client.Close(), server.Close()
		running.Wait()
		if err := gateway.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFault054RefusedBody is the rest of fault 54: a client that is refused before its body was read gets its answer,
// even if it never sends the body. The test runs on the clock of a synctest bubble.
func TestFault054RefusedBody(t *testing.T) {
	const root = "POST " + aibridge.RootPath
	for line, want := range map[string]int{
		root + "/anthropic/v1/messages HTTP/1.1\r\nX-Api-Key: wrong":               403,
		root + "/nobody/v1/messages HTTP/1.1\r\nX-Api-Key: " + testkit.Token:       404,
		root + "/anthropic/v1/messages HTTP/1.1\r\nX-Api-Key: " + testkit.Token:    408,
		root + "/anthropic/v1/models/../x HTTP/1.1\r\nX-Api-Key: " + testkit.Token: 400,
	} {
		synctest.Test(t, func(t *testing.T) {
			client, end := serveInMemory(t, newMemoryServer(t, controlplane.InProcess(&testkit.ControlPlane{}), nil))
			defer end()
			began := time.Now()
			if _, err := io.WriteString(client, line+"\r\nHost: gateway\r\nContent-Length: 9\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil || response.StatusCode != want {
				t.Errorf("%s: %v, %v", line, response, err)
			}
			if took := time.Since(began); took > 31*time.Second {
				t.Errorf("%s: answered after %s", line, took)
			}
			_ = client.Close()
		})
	}
}

// TestFault006HTTP10 is fault 6 for a client on HTTP/1.0, whose answer ends with its connection: a break is a reset, so that
// the client does not take what it has for the whole answer, and a whole answer ends in good order.
func TestFault006HTTP10(t *testing.T) {
	t.Parallel()
	s, _ := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
		c.Write(q.chunkedHead() + chunk(strings.Join(q.format.events[:2], "")))
		c.Close()
	})
	for _, q := range streams() {
		for _, model := range []string{fine, faulty} {
			conn, reader := s.dial(t)
			if _, err := io.WriteString(conn, strings.Replace(s.raw(q, model), "HTTP/1.1", "HTTP/1.0", 1)); err != nil {
				t.Fatal(err)
			}
			_, err := io.Copy(io.Discard, reader)
			if isReset := errors.Is(err, syscall.ECONNRESET); isReset != (model == faulty) {
				t.Errorf("%v, %s: the connection ended with %v", q, model, err)
			}
		}
	}
	s.serves(t)
}
