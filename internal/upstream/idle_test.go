package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pipeServer is an upstream inside a synctest bubble: each connection is a net.Pipe, and play has its other end.
func pipeServer(t *testing.T, limits Limits, play func(net.Conn)) *Transport {
	t.Helper()
	transport := newTransport(t, limits)
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			play(far)
		}()
		return near, nil
	}
	return transport
}

// begin reads a request from conn and sends the header of a stream.
func begin(t *testing.T, conn net.Conn) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		t.Errorf("read request: %v", err)
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Errorf("read request body: %v", err)
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
}

func TestFault007SilentUpstream(t *testing.T) {
	for _, limit := range []time.Duration{0, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			gone := make(chan struct{})
			transport := pipeServer(t, Limits{}, func(conn net.Conn) {
				defer close(gone)
				begin(t, conn)
				_, _ = io.WriteString(conn, "4\r\nping\r\n")
				_, _ = conn.Read(make([]byte, 1)) // Half-open: no byte and no FIN, until the gateway hangs up.
			})
			r := request(t, http.MethodPost, "http://provider.example/", "{}")
			resp, err := Idle(Guard(transport), limit).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			_, err = resp.Body.Read(make([]byte, 1))
			if !errors.Is(err, ErrIdle) {
				t.Errorf("got %v, want ErrIdle", err)
			}
			if elapsed, want := time.Since(begin), or(limit, 5*time.Minute); elapsed != want {
				t.Errorf("gave up after %v, want %v", elapsed, want)
			}
			<-gone
			checkFailure(t, Failure(err), r.URL, http.StatusGatewayTimeout)
			if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
				t.Error("the body goes on after its end")
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// silentBody is the body of a transport that has an error of its own for a cancelled request.
type silentBody struct{ ctx context.Context }

func (b silentBody) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, errors.New("stream reset")
}

func (silentBody) Close() error { return nil }

func TestFault007AnyTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := Idle(roundTripperFunc(func(r *http.Request) (*http.Response, error) {
			return &http.Response{Body: silentBody{r.Context()}}, nil
		}), 0)
		resp, err := next.RoundTrip(request(t, http.MethodPost, "http://provider.example/", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(resp); !errors.Is(err, ErrIdle) {
			t.Errorf("got %v, want ErrIdle", err)
		}
	})
}

// TestFault009SlowDrip has a byte every 59 s: slow, but not silent.
func TestFault009SlowDrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := pipeServer(t, Limits{}, func(conn net.Conn) {
			begin(t, conn)
			for range 100 {
				<-time.After(59 * time.Second)
				_, _ = io.WriteString(conn, "1\r\n.\r\n")
			}
			_, _ = io.WriteString(conn, "0\r\n\r\n")
		})
		next := Idle(Guard(transport), time.Minute)
		_, body := answer(t, next, request(t, http.MethodPost, "http://provider.example/", "{}"))
		if len(body) != 100 {
			t.Errorf("read %d bytes, want 100", len(body))
		}
		transport.CloseIdleConnections()
	})
}

// TestFault007SlowClient waits an hour between two Reads: the client is slow then, and not the upstream.
func TestFault007SlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := pipeServer(t, Limits{}, func(conn net.Conn) {
			begin(t, conn)
			for _, chunk := range []string{"1\r\na\r\n", "1\r\nb\r\n", "1\r\nc\r\n", "0\r\n\r\n"} {
				_, _ = io.WriteString(conn, chunk) // A pipe has no buffer: it waits for the client.
			}
		})
		resp, err := Idle(Guard(transport), 0).RoundTrip(request(t, http.MethodPost, "http://provider.example/", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range "abc" {
			<-time.After(time.Hour)
			b := make([]byte, 1)
			if _, err := io.ReadFull(resp.Body, b); err != nil || b[0] != byte(want) {
				t.Fatalf("read %q, %v, want %q", b, err, want)
			}
		}
		if rest, err := readAll(resp); err != nil || rest != "" {
			t.Errorf("read %q, %v", rest, err)
		}
		transport.CloseIdleConnections()
	})
}

// TestIdleEndsItsContext has every way in which an exchange ends. The context must not outlive it, and must live on
// until then.
func TestIdleEndsItsContext(t *testing.T) {
	failure := errors.New("failure")
	cases := map[string]struct {
		body io.Reader
		err  error
		use  func(io.ReadCloser) error
	}{
		"no response":    {err: failure},
		"no body":        {use: func(io.ReadCloser) error { return nil }},
		"read to an end": {body: io.MultiReader(), use: drain},
		"broken":         {body: failingBody{io.MultiReader(), failure}, use: drain},
		"closed":         {body: io.MultiReader(), use: io.ReadCloser.Close},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var ctx context.Context
			next := Idle(roundTripperFunc(func(r *http.Request) (*http.Response, error) {
				ctx = r.Context()
				resp := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
				if c.body != nil {
					resp.Body = io.NopCloser(c.body)
				}
				return resp, c.err
			}), 0)
			r := request(t, http.MethodPost, "http://provider.example/", "{}")
			resp, err := next.RoundTrip(r)
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if err == nil {
				if c.body != nil && ctx.Err() != nil {
					t.Error("the context ended before the body")
				}
				if resp.Request != r {
					t.Error("the response is that of another request")
				}
				if err := c.use(resp.Body); err != nil && !errors.Is(err, failure) {
					t.Error(err)
				}
			}
			if ctx.Err() == nil {
				t.Error("the context lives on")
			}
			if err := r.Context().Err(); err != nil {
				t.Errorf("the caller's context has ended: %v", err)
			}
		})
	}
}

func drain(body io.ReadCloser) error {
	_, err := io.Copy(io.Discard, body)
	return err
}

// A body may be closed while a Read waits: that is how a handler ends a stream.
func TestIdleCloseDuringRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := pipeServer(t, Limits{}, func(conn net.Conn) {
			begin(t, conn)
			_, _ = conn.Read(make([]byte, 1))
		})
		resp, err := Idle(Guard(transport), 0).RoundTrip(request(t, http.MethodPost, "http://provider.example/", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan error)
		go func() {
			_, err := resp.Body.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if err := <-read; err == nil || errors.Is(err, ErrIdle) {
			t.Errorf("got %v", err)
		}
	})
}

// The connection of an answer that was read to its end serves the next request.
func TestIdleKeepsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		transport := pipeServer(t, Limits{}, func(conn net.Conn) {
			dials++
			reader := bufio.NewReader(conn)
			for {
				r, err := http.ReadRequest(reader)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		})
		next := Idle(Guard(transport), 0)
		for range 10 {
			answer(t, next, request(t, http.MethodPost, "http://provider.example/", "{}"))
			synctest.Wait()
		}
		if dials != 1 {
			t.Errorf("%d connections, want 1", dials)
		}
		transport.CloseIdleConnections()
	})
}

func TestFault003And008Limits(t *testing.T) {
	cases := map[string]struct {
		url    string
		limits Limits
		want   time.Duration
	}{
		"fault 008 header, by default": {"http://provider.example/", Limits{}, 10 * time.Minute},
		"fault 008 header":             {"http://provider.example/", Limits{ResponseHeader: time.Second}, time.Second},
		"handshake, by default":        {"https://provider.example/", Limits{}, 10 * time.Second},
		"handshake":                    {"https://provider.example/", Limits{TLSHandshake: time.Second}, time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport := pipeServer(t, c.limits, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
				begin := time.Now()
				r := request(t, http.MethodPost, c.url, "{}")
				failure := wantFailure(t, Idle(Guard(transport), time.Millisecond), r, http.StatusGatewayTimeout)
				if elapsed := time.Since(begin); elapsed != c.want || failure.Text != textTimeout {
					t.Errorf("%q after %v, want %v", failure.Text, elapsed, c.want)
				}
			})
		})
	}
}

// A stream has thousands of Reads, so a Read must not allocate.
func TestIdleReadsAreFree(t *testing.T) {
	body := &upload{closed: make(chan struct{})}
	resp, err := Idle(roundTripperFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{Body: body}, nil
	}), 0).RoundTrip(request(t, http.MethodGet, "http://provider.example/", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p := make([]byte, 1)
	if n := testing.AllocsPerRun(100, func() { _, _ = resp.Body.Read(p) }); n != 0 {
		t.Errorf("%v allocations a Read", n)
	}
}

// failingBody is a body that ends in an error.
type failingBody struct {
	io.Reader
	err error
}

func (b failingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

func (failingBody) Close() error { return nil }
