package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/aibridged/internal/rawserver"
)

// reply is a server that gives every request the same bytes for an answer.
func reply(t *testing.T, bytes string) *rawserver.Server {
	t.Helper()
	return rawserver.New(t, func(c *rawserver.Conn) {
		for {
			if r, _ := c.ReadRequest(); r == nil {
				return
			}
			c.Write(bytes)
		}
	})
}

// partial is a server that answers once and closes the connection.
func partial(t *testing.T, bytes string) *rawserver.Server {
	t.Helper()
	return rawserver.New(t, func(c *rawserver.Conn) {
		c.ReadRequest()
		c.Write(bytes)
	})
}

func TestStatus(t *testing.T) {
	passed := []int{200, 201, 204, 300, 304, 400, 401, 429, 500, 529, 599}
	refused := []int{0, 99, 101, 600, 999}
	for status := range 1000 {
		if !slices.Contains(passed, status) && !slices.Contains(refused, status) {
			continue
		}
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			body := "\r\n"
			if status != 204 && status != 304 {
				body = "Content-Length: 2\r\n\r\nok"
			}
			server := reply(t, fmt.Sprintf("HTTP/1.1 %03d Status\r\nLocation: /x\r\n%s", status, body))
			r := request(t, http.MethodPost, server.URL(), "{}")
			if slices.Contains(refused, status) {
				wantFailure(t, guarded(t), r, http.StatusBadGateway)
				return
			}
			if resp, _ := answer(t, guarded(t), r); resp.StatusCode != status {
				t.Errorf("status %d, want %d", resp.StatusCode, status)
			}
		})
	}
}

func TestFault012Garbage(t *testing.T) {
	cases := map[string]string{
		"not HTTP":       "SSH-2.0-OpenSSH_9.9\r\n",
		"bad status":     "HTTP/1.1 abc\r\n\r\n",
		"bad version":    "HTTP/x 200 OK\r\n\r\n",
		"bad header":     "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
		"two lengths":    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"bad length":     "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab",
		"half a header":  "HTTP/1.1 200 OK\r\nContent-Ty",
		"nothing at all": "",
	}
	for name, bytes := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(t, http.MethodPost, partial(t, bytes).URL(), "{}")
			wantFailure(t, guarded(t), r, http.StatusBadGateway)
		})
	}
}

// TestBrokenBodies has the faults that show after the header: the reader must see an error, and no clean end.
func TestBrokenBodies(t *testing.T) {
	const stream = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	cases := map[string]struct{ bytes, got string }{
		"fault 011 short length":         {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "half"},
		"fault 011 truncated chunk":      {stream + "9\r\nhalf", "half"},
		"fault 011 no last chunk":        {stream + "4\r\nhalf\r\n", "half"},
		"fault 012 bad chunk size":       {stream + "4\r\nhalf\r\nxyz\r\n", "half"},
		"fault 012 overflowing size":     {stream + "4\r\nhalf\r\nfffffffffffffffff\r\n", "half"},
		"fault 024 trailers without end": {stream + "4\r\nhalf\r\n0\r\nX-Trailer: a\r\n", "half"},
		"fault 024 huge trailer": {
			stream + "4\r\nhalf\r\n0\r\nX-Trailer: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", "half",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(t, http.MethodPost, partial(t, c.bytes).URL(), "{}")
			resp, err := guarded(t).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := readAll(resp)
			if err == nil || got != c.got {
				t.Fatalf("read %q, %v, want %q and an error", got, err, c.got)
			}
			checkFailure(t, Failure(err), r.URL, http.StatusBadGateway)
		})
	}
}

func TestFault006ResetInTheMiddle(t *testing.T) {
	read := make(chan struct{})
	server := rawserver.New(t, func(c *rawserver.Conn) {
		c.ReadRequest()
		c.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
		<-read // A RST may take back what was not read.
		c.Reset()
	})
	r := request(t, http.MethodPost, server.URL(), "{}")
	resp, err := guarded(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	half := make([]byte, 4)
	if _, err := io.ReadFull(resp.Body, half); err != nil || string(half) != "half" {
		t.Fatalf("read %q, %v", half, err)
	}
	close(read)
	rest, err := readAll(resp)
	if err == nil || rest != "" {
		t.Fatalf("read %q, %v, want an error", rest, err)
	}
	checkFailure(t, Failure(err), r.URL, http.StatusBadGateway)
}

func TestFault019Informational(t *testing.T) {
	server := reply(t, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\nSet-Cookie: a=b\r\n\r\n"+
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	var codes []int
	r := request(t, http.MethodPost, server.URL(), "{}")
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			codes = append(codes, code)
			if len(header) != 0 {
				t.Errorf("%d has headers: %v", code, header)
			}
			return nil
		},
	}))
	resp, body := answer(t, BareInformational(guarded(t)), r)
	if resp.StatusCode != http.StatusOK || body != "ok" || resp.Header.Get("Link") != "" {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	if want := []int{100, 103}; !slices.Equal(codes, want) {
		t.Errorf("saw %v, want %v", codes, want)
	}
}

func TestFault019UnaskedSwitch(t *testing.T) {
	closed := make(chan struct{})
	server := rawserver.New(t, func(c *rawserver.Conn) {
		defer close(closed)
		c.ReadRequest()
		c.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(io.Discard, c) // Until the gateway closes the connection.
	})
	r := request(t, http.MethodGet, server.URL(), "")
	if failure := wantFailure(t, guarded(t), r, http.StatusBadGateway); failure.Text != textInvalid {
		t.Errorf("text %q", failure.Text)
	}
	<-closed
}

func TestFault020Redirects(t *testing.T) {
	var others atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { others.Add(1) }))
	t.Cleanup(other.Close)
	targets := map[string]string{
		"same host":  "/v2/messages?key=" + canary,
		"other host": strings.Replace(other.URL, "http://", "http://"+canary+"@", 1) + "/v1/messages",
		"metadata":   "http://169.254.169.254/latest/meta-data/",
		"unreadable": "http://[::1/%zz",
		"none":       "",
	}
	for name, location := range targets {
		for _, status := range []int{301, 302, 303, 307, 308} {
			t.Run(fmt.Sprint(name, " ", status), func(t *testing.T) {
				var requests atomic.Int64
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					requests.Add(1)
					w.Header().Set("Location", location)
					w.WriteHeader(status)
				}))
				t.Cleanup(server.Close)
				r := request(t, http.MethodPost, server.URL, "{}")
				failure := wantFailure(t, guarded(t), r, http.StatusBadGateway)
				if failure.Text != textRedirect {
					t.Errorf("text %q", failure.Text)
				}
				if requests.Load() != 1 {
					t.Errorf("%d requests, want 1", requests.Load())
				}
			})
		}
	}
	if others.Load() != 0 {
		t.Errorf("the other host got %d requests", others.Load())
	}
}

func TestFault023Headers(t *testing.T) {
	many := func(n int) string { return strings.Repeat("X-A: b\r\n", n) }
	cases := map[string]struct {
		header string
		passes bool
	}{
		"tab and opaque bytes":        {"X-A: a\tb \xff\r\n", true},
		"1,000 values":                {many(999), true}, // and Content-Length
		"1,001 values":                {many(1000), false},
		"10,000 values":               {many(10_000), false},
		"1 MiB":                       {"X-A: " + strings.Repeat("a", 1<<20) + "\r\n", false},
		"11 MiB":                      {"X-A: " + strings.Repeat("a", 11<<20) + "\r\n", false},
		"NUL":                         {"X-A: a\x00b\r\n", false},
		"CR":                          {"X-A: a\rSet-Cookie: b\r\n", false},
		"folded line":                 {"X-A: a\r\n b\r\n", true}, // net/http makes it one line.
		"escape":                      {"X-A: \x1b[2J\r\n", false},
		"delete":                      {"X-A: \x7f\r\n", false},
		"control character in a name": {"X\x01A: b\r\n", false},
		"the key, malformed":          {"X-Api-Key: " + canary + "\x00\r\n", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := partial(t, "HTTP/1.1 200 OK\r\n"+c.header+"Content-Length: 2\r\n\r\nok")
			r := request(t, http.MethodPost, server.URL(), "{}")
			if !c.passes {
				wantFailure(t, guarded(t), r, http.StatusBadGateway)
				return
			}
			if _, body := answer(t, guarded(t), r); body != "ok" {
				t.Errorf("body %q", body)
			}
		})
	}
}

// TestFault023AnyTransport checks that the guard refuses what net/http's own transport refuses by itself today.
func TestFault023AnyTransport(t *testing.T) {
	cases := map[string]bool{
		"": true, "a\tb": true, "a\u00e4\xff": true,
		"a\x00": false, "a\rb": false, "a\nb": false, "\x1b[2J": false, "a\x7f": false,
	}
	for value, passes := range cases {
		t.Run(fmt.Sprintf("%q", value), func(t *testing.T) {
			body := &upload{closed: make(chan struct{})}
			next := Guard(roundTripperFunc(func(r *http.Request) (*http.Response, error) {
				header := http.Header{"X-A": {"a", value}}
				return &http.Response{StatusCode: http.StatusOK, Header: header, Body: body, Request: r}, nil
			}))
			r := request(t, http.MethodPost, "http://provider.example/", "{}")
			if !passes {
				wantFailure(t, next, r, http.StatusBadGateway)
				<-body.closed
				return
			}
			resp, err := next.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Request != r {
				t.Error("the response is that of another request")
			}
		})
	}
}

func TestFault024AnyTransport(t *testing.T) {
	next := Guard(roundTripperFunc(func(*http.Request) (*http.Response, error) {
		trailer := http.Header{"X-A": {"a\x00"}, "X-B": {"b"}, "Set-Cookie": {"a=b"}}
		body := io.NopCloser(strings.NewReader("ok"))
		return &http.Response{StatusCode: http.StatusOK, Trailer: trailer, Body: body}, nil
	}))
	resp, _ := answer(t, next, request(t, http.MethodPost, "http://provider.example/", "{}"))
	if want := (http.Header{"X-B": {"b"}}); fmt.Sprint(resp.Trailer) != fmt.Sprint(want) {
		t.Errorf("trailers %v, want %v", resp.Trailer, want)
	}
}

func TestFault023SetCookieRemoved(t *testing.T) {
	server := reply(t, "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nSet-Cookie: c=d\r\nRequest-Id: r\r\n"+
		"Content-Length: 0\r\n\r\n")
	resp, _ := answer(t, guarded(t), request(t, http.MethodPost, server.URL(), "{}"))
	if resp.Header.Get("Set-Cookie") != "" || resp.Header.Get("Request-Id") != "r" {
		t.Errorf("headers %v", resp.Header)
	}
}

// TestFault024Trailers sends two requests over the connection: a trailer that misframes would spoil the second.
func TestFault024Trailers(t *testing.T) {
	const chunks = "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
	cases := map[string]struct {
		bytes string
		want  http.Header
	}{
		"announced":     {"Trailer: X-A\r\n" + chunks + "X-A: a\r\n\r\n", http.Header{"X-A": {"a"}}},
		"not announced": {chunks + "X-A: a\r\nX-B: b\r\n\r\n", http.Header{"X-A": {"a"}, "X-B": {"b"}}},
		"forbidden": {
			chunks + "Set-Cookie: a=b\r\nX-B: b\r\n\r\n", http.Header{"X-B": {"b"}},
		},
		"announced, never sent": {"Trailer: X-A\r\n" + chunks + "\r\n", http.Header{"X-A": nil}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server, next := reply(t, "HTTP/1.1 200 OK\r\n"+c.bytes), guarded(t)
			for range 2 {
				resp, body := answer(t, next, request(t, http.MethodPost, server.URL(), "{}"))
				if body != "ok" || fmt.Sprint(resp.Trailer) != fmt.Sprint(c.want) {
					t.Errorf("body %q, trailers %v, want %v", body, resp.Trailer, c.want)
				}
			}
		})
	}
}

// TestBehindAProxy has a cookie in an informational answer and one in a trailer, which httputil.ReverseProxy would copy
// to the client.
func TestBehindAProxy(t *testing.T) {
	server := reply(t, "HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\n\r\n"+
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nSet-Cookie: a=b\r\nX-Sum: 1\r\n\r\n")
	target, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: guarded(t),
	})
	t.Cleanup(front.Close)
	resp, body := answer(t, newTransport(t, Limits{}), request(t, http.MethodPost, front.URL, "{}"))
	if body != "ok" || resp.Trailer.Get("X-Sum") != "1" {
		t.Errorf("body %q, trailers %v", body, resp.Trailer)
	}
	if len(resp.Header["Set-Cookie"])+len(resp.Trailer["Set-Cookie"]) != 0 {
		t.Errorf("a cookie came through: %v %v", resp.Header, resp.Trailer)
	}
}

// upload is the body of a request that never ends by itself.
type upload struct{ closed chan struct{} }

func (u *upload) Read(p []byte) (int, error) {
	select {
	case <-u.closed:
		return 0, errors.New("closed")
	default:
		return len(p), nil
	}
}

func (u *upload) Close() error {
	select {
	case <-u.closed:
	default:
		close(u.closed)
	}
	return nil
}

func TestFault026EarlyAnswer(t *testing.T) {
	for _, status := range []string{"413 Request Entity Too Large", "401 Unauthorized"} {
		t.Run(status, func(t *testing.T) {
			server := rawserver.New(t, func(c *rawserver.Conn) {
				_, _ = io.ReadFull(c, make([]byte, 4096))
				c.Write("HTTP/1.1 " + status + "\r\nContent-Length: 8\r\n\r\ntoo much")
				c.Hang()
			})
			r := request(t, http.MethodPost, server.URL(), "")
			body := &upload{closed: make(chan struct{})}
			r.Body, r.ContentLength = body, -1
			resp, text := answer(t, guarded(t), r)
			if !strings.HasPrefix(status, fmt.Sprint(resp.StatusCode)) || text != "too much" {
				t.Errorf("got %d %q", resp.StatusCode, text)
			}
			<-body.closed
		})
	}
}
