package aibridge_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/aibridged/aibridge"
)

// parts is a body that is read in parts. The last one comes with the error.
type parts struct {
	texts []string
	last  func() error
}

func (p *parts) Read(b []byte) (int, error) {
	if len(p.texts) == 0 {
		return 0, p.last()
	}
	n := copy(b, p.texts[0])
	p.texts = p.texts[1:]
	return n, nil
}

// TestABreakIsVisible breaks answers off, on each kind of route and for each reason, and asks clients over connections
// whether they can see it: an HTTP/1.0 client gets a reset, since its answer ends where its connection does, an HTTP/1.1
// client misses chunks or length, whether it keeps its connection or not, and an HTTP/2 client has its stream reset. A
// whole answer ends in good order for all of them.
func TestABreakIsVisible(t *testing.T) {
	t.Parallel()
	const (
		stream = "Content-Type: text/event-stream"
		json   = "Content-Type: application/json"
	)
	ended := func() error { return io.EOF }
	broke := func() error { return io.ErrUnexpectedEOF }
	for name, test := range map[string]struct {
		path, head string
		length     int64
		texts      []string
		last       func() error
		whole      bool
	}{
		"stream":                      {"/p/v1/messages", stream, -1, []string{beginning}, broke, false},
		"stream without its end":      {"/p/v1/messages", stream, -1, []string{beginning}, ended, false},
		"stream of a length":          {"/p/v1/messages", stream, int64(len(beginning)), []string{beginning}, ended, false},
		"stream that panics":          {"/p/v1/messages", stream, -1, []string{beginning}, func() error { panic("boom") }, false},
		"body behind white space":     {"/p/v1/messages", json, -1, []string{"\n", whole[:30]}, ended, false},
		"body of nothing but blanks":  {"/p/v1/messages", json, -1, []string{"\n"}, ended, false},
		"passed through":              {"/p/v1/messages/count_tokens", json, -1, []string{`{"data":[`}, broke, false},
		"passed through, of a length": {"/p/v1/messages/count_tokens", json, 100, []string{`{"data":[`}, broke, false},
		"whole stream":                {"/p/v1/messages", stream, -1, []string{beginning, stop}, ended, true},
		"whole body":                  {"/p/v1/messages", json, -1, []string{"\n", whole}, ended, true},
		"whole, passed through":       {"/p/v1/messages/count_tokens", json, -1, []string{`{"data":[]}`}, ended, true},
	} {
		bridge := newBridge(t, upstreamFunc(func(r *http.Request) (*http.Response, error) {
			kind, value, _ := strings.Cut(test.head, ": ")
			return &http.Response{
				StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: test.length,
				Header: http.Header{kind: {value}}, Body: io.NopCloser(&parts{test.texts, test.last}),
			}, nil
		}), discard{}, aibridge.BridgeOptions{})
		for client, see := range visibly {
			t.Run(name+"/"+client, func(t *testing.T) {
				t.Parallel()
				text, err := see(t, bridge, test.path)
				if test.whole {
					if want := strings.Join(test.texts, ""); err != nil || text != want {
						t.Errorf("got %q, %v, want %q", text, err, want)
					}
					return
				}
				if err == nil {
					t.Fatalf("a clean end after %q", text)
				}
				// What is passed through is flushed by net/http, or not at all.
				want := test.texts[0]
				if !strings.HasPrefix(want, text) || len(text) < len(want)-1 && test.path != "/p/v1/messages/count_tokens" {
					t.Errorf("got %q of %q before the break", text, want)
				}
			})
		}
	}
}

// visibly holds clients that send a request to a handler, and return the body that they get and why it broke off.
var visibly = map[string]func(t *testing.T, handler http.Handler, path string) (string, error){
	"HTTP/1.0": func(t *testing.T, handler http.Handler, path string) (string, error) {
		return askRaw(t, serveTo(t, handler, false), path, "HTTP/1.0", syscall.ECONNRESET)
	},
	"HTTP/1.0 over TLS": func(t *testing.T, handler http.Handler, path string) (string, error) {
		return askRaw(t, serveTo(t, handler, true), path, "HTTP/1.0", syscall.ECONNRESET)
	},
	"HTTP/1.1, closing": func(t *testing.T, handler http.Handler, path string) (string, error) {
		return askRaw(t, serveTo(t, handler, false), path, "HTTP/1.1", io.ErrUnexpectedEOF)
	},
	"HTTP/2": func(t *testing.T, handler http.Handler, path string) (string, error) {
		server := serveTo(t, handler, true)
		response, err := server.Client().Post(server.URL+path, "application/json", strings.NewReader(askStream))
		if err != nil {
			return "", err // It broke off before anything was sent.
		}
		defer func() { _ = response.Body.Close() }()
		if response.ProtoMajor != 2 {
			t.Errorf("answered over %s", response.Proto)
		}
		got, err := io.ReadAll(response.Body)
		if err != nil && !strings.Contains(err.Error(), "INTERNAL_ERROR; received from peer") { // The error is of no exported type.
			t.Errorf("the break is %v, want a reset stream", err)
		}
		return string(got), err
	},
}

// serveTo serves a handler until the end of the test.
func serveTo(t *testing.T, handler http.Handler, secure bool) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if server.EnableHTTP2 = secure; secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

// askRaw sends a request over a connection of its own, and reads the body as the protocol says. A break that is not the
// expected error fails the test.
func askRaw(t *testing.T, server *httptest.Server, path, protocol string, want error) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if server.TLS != nil {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // The test's own server.
	}
	_, err = io.WriteString(conn, "POST "+path+" "+protocol+"\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: "+
		strconv.Itoa(len(askStream))+"\r\n\r\n"+askStream)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err // It broke off before anything was sent.
	}
	got, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil && !errors.Is(err, want) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the break is %v, want %v", err, want)
	}
	return string(got), err
}
