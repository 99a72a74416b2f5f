package aibridged_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/rawserver"
	"github.com/coder/aibridged/internal/testkit"
)

// The texts that a client gets where its upstream failed.
const (
	textUnreachable = "upstream unreachable"
	textFailed      = "upstream connection failed"
	textTimeout     = "upstream did not answer in time"
	textInvalid     = "upstream gave an invalid answer"
	textRedirect    = "upstream answered with a redirect"
)

// eachQuestion checks that every question about the faulty model ends as wanted, and that requests before and after
// succeed.
func eachQuestion(t *testing.T, s *site, want want) {
	t.Helper()
	for _, q := range questions() {
		s.check(t, s.request(t, q, faulty), want)
	}
	s.serves(t)
}

// TestFault001ConnectionRefused is fault 1: where nobody listens, the client gets 502 in its API's shape, at once. When
// the upstream is back, the next request reaches it.
func TestFault001ConnectionRefused(t *testing.T) {
	t.Parallel()
	up := newScripted(t, nil)
	var back atomic.Bool
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !back.Load() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, addr)
	}}
	s := newSite(t, up.URL(), testkit.GatewayOptions{Provider: providersOver(t, up.URL(), transport)})
	for _, q := range questions() {
		s.check(t, s.request(t, q, fine), failed(502, textUnreachable, aibridge.ErrorServer))
	}
	back.Store(true)
	s.serves(t)
}

// providersOver returns the providers of a gateway, with a transport of the test's own.
func providersOver(t *testing.T, url string, transport http.RoundTripper) []aibridge.Provider {
	t.Helper()
	if closer, ok := transport.(interface{ CloseIdleConnections() }); ok {
		t.Cleanup(closer.CloseIdleConnections)
	}
	anthropic, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{
		BaseURL: url, Key: testkit.ProviderKey, Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	openai, err := aibridge.NewOpenAIProvider("openai", aibridge.ProviderOptions{
		BaseURL: url + "/v1", Key: testkit.ProviderKey, Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	return []aibridge.Provider{anthropic, openai}
}

// TestFault002And003NotReached is faults 2 and 3: a name that does not resolve is a 502; an address that never answers
// is a 504. Each is tried once.
func TestFault002And003NotReached(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want want
	}{
		"no such name": {
			&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}},
			failed(502, textUnreachable, aibridge.ErrorServer),
		},
		"resolver too slow": {
			&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "i/o timeout", Name: "h", IsTimeout: true}},
			failed(502, textUnreachable, aibridge.ErrorServer),
		},
		"black hole": {
			&net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded},
			failed(504, textTimeout, aibridge.ErrorTimeout),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int64
			s := newSite(t, "http://upstream.invalid", testkit.GatewayOptions{
				Provider: providersOver(t, "http://upstream.invalid", upstreamFunc(func(*http.Request) (*http.Response, error) {
					tries.Add(1)
					return nil, test.err
				})),
			})
			for _, q := range questions() {
				s.check(t, s.request(t, q, fine), test.want)
			}
			if n := tries.Load(); n != int64(len(questions())) {
				t.Errorf("%d tries for %d requests", n, len(questions()))
			}
		})
	}
}

// TestFault004UntrustedUpstream is fault 4: nothing of the request is sent to an upstream whose certificate is not
// trusted.
func TestFault004UntrustedUpstream(t *testing.T) {
	t.Parallel()
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the request was sent all the same")
	}))
	up.Config.ErrorLog = log.New(io.Discard, "", 0)
	up.StartTLS()
	defer up.Close()
	s := newSite(t, up.URL, testkit.GatewayOptions{})
	for _, q := range questions() {
		s.check(t, s.request(t, q, fine), failed(502, textUnreachable, aibridge.ErrorServer))
	}
	if !strings.Contains(s.Log.String(), "certificate") {
		t.Error("the log does not say why")
	}
}

// TestFault005ClosedOnReuse is fault 5: a reused connection that is closed before the answer is a 502 if the upstream has
// received the request. Nothing is sent twice then.
func TestFault005ClosedOnReuse(t *testing.T) {
	t.Parallel()
	s, up := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, _ question) { c.Close() })
	for _, q := range questions() {
		s.check(t, s.request(t, q, fine), answered(q)) // Leaves a connection for the next one.
		r := s.request(t, q, faulty)
		r.Header.Set("Idempotency-Key", "an invitation to send it again") // Asks for a retry. Fault 58.
		s.check(t, r, failed(502, textFailed, aibridge.ErrorServer))
	}
	s.serves(t)
	up.checkRequests(t, len(questions()))
}

// TestFault008SlowHeader is fault 8: an upstream that never begins its answer is a 504 when the limit for that is
// reached.
func TestFault008SlowHeader(t *testing.T) {
	t.Parallel()
	limits := aibridge.Limits{ResponseHeader: 100 * time.Millisecond}
	s, _ := newFaulty(t, testkit.GatewayOptions{Limits: limits}, func(c *rawserver.Conn, _ question) {
		_, _ = c.Read(make([]byte, 1)) // Until the gateway hangs up.
	})
	for _, q := range questions() {
		s.check(t, s.request(t, q, faulty), failed(504, textTimeout, aibridge.ErrorTimeout))
	}
}

// TestFault011HalfAnAnswer is fault 11: a JSON answer that breaks off is a 502, in whatever way it breaks off.
func TestFault011HalfAnAnswer(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(q question) string{
		"short length":       func(q question) string { return q.head("Content-Length", "9999") + q.answer()[:40] },
		"truncated chunks":   func(q question) string { return q.chunkedHead() + chunk(q.answer()[:40]) },
		"truncated in one":   func(q question) string { return q.chunkedHead() + "ff\r\n" + q.answer()[:40] },
		"no chunk size":      func(q question) string { return q.chunkedHead() + "\r\n" + q.answer() },
		"bad chunk size":     func(q question) string { return q.chunkedHead() + "-5\r\n" + q.answer() },
		"chunk size of 2^64": func(q question) string { return q.chunkedHead() + "10000000000000000\r\n" + q.answer() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, up := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
				c.Write(play(q))
				c.Close()
			})
			for _, f := range formats() {
				s.check(t, s.request(t, question{f, false}, faulty), failed(502, textFailed, aibridge.ErrorTruncated))
			}
			s.serves(t)
			up.checkRequests(t, len(formats()))
		})
	}
}

// TestFault012Garbage is fault 12: an answer that is not HTTP is a 502.
func TestFault012Garbage(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"another protocol": "220 mail.example ESMTP\r\n",
		"binary":           "\x16\x03\x01\x00\xff\x00\x00",
		"status of words":  "HTTP/1.1 fine OK\r\n\r\n",
		"half a header":    "HTTP/1.1 200 OK\r\nContent-Type: text/eve",
		"no colon":         "HTTP/1.1 200 OK\r\nContent-Type\r\n\r\n",
		"nothing":          "",
		"two lengths":      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"negative length":  "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, _ question) {
				c.Write(answer)
				c.Close()
			})
			eachQuestion(t, s, failed(502, textFailed, aibridge.ErrorServer))
		})
	}
}

// TestFault019Informational is fault 19: informational answers are passed on without their headers, which nobody
// checked. A switch of protocols that nobody asked for is a 502.
func TestFault019Informational(t *testing.T) {
	t.Parallel()
	hints := "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nSet-Cookie: a=b\r\n\r\n"
	s, _ := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
		if q.stream {
			c.Write("HTTP/1.1 100 Continue\r\n\r\n" + hints + hints + q.response())
			return
		}
		c.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	})
	for _, f := range formats() {
		q := question{f, true}
		r := s.request(t, q, faulty)
		early := 0
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
				early++
				if len(header) != 0 {
					t.Errorf("an early answer has the header %v", header)
				}
				return nil
			},
		}))
		s.check(t, r, answered(q))
		if early == 0 {
			t.Error("no early answer came")
		}
		s.check(t, s.request(t, question{f, false}, faulty), failed(502, textInvalid, aibridge.ErrorServer))
	}
	s.serves(t)
}

// TestFault020Redirects is fault 20: a redirect is neither followed nor passed on, wherever it leads.
func TestFault020Redirects(t *testing.T) {
	t.Parallel()
	elsewhere := rawserver.New(t, func(*rawserver.Conn) { t.Error("the redirect was followed") })
	for _, location := range []string{elsewhere.URL() + "/v1/messages", "http://169.254.169.254/latest", "/v1/other", "//[::1", ""} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			s, up := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
				c.Write(head(status, "Location", location, "Content-Length", "0"))
			})
			q := questions()[status%len(questions())]
			s.check(t, s.request(t, q, faulty), failed(502, textRedirect, aibridge.ErrorServer))
			up.checkRequests(t, 1)
		}
	}
}

// TestFault021ErrorsPass is fault 21: the upstream's errors reach the client unchanged, and are never tried again,
// whatever Retry-After says.
func TestFault021ErrorsPass(t *testing.T) {
	t.Parallel()
	ended := map[int]aibridge.ErrorType{
		400: aibridge.ErrorBadRequest, 401: aibridge.ErrorUnauthorized, 429: aibridge.ErrorRateLimited, 500: aibridge.ErrorServer,
		503: aibridge.ErrorOverloaded, 504: aibridge.ErrorTimeout, 529: aibridge.ErrorOverloaded, 418: aibridge.ErrorUnknown,
	}
	const body = `{"error":{"type":"x","message":"slow down"},"more":[1e400]}`
	for status, errorType := range ended {
		for _, retry := range []string{"17", "Wed, 21 Oct 2099 07:28:00 GMT", "99999999999999999999", "-1", "soon"} {
			s, up := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, _ question) {
				c.Write(head(status, "Content-Type", "application/json", "Retry-After", retry, "X-Request-Id", "req_1",
					"Content-Length", strconv.Itoa(len(body))) + body)
			})
			q := questions()[len(retry)%len(questions())]
			r := s.request(t, q, faulty)
			response, err := s.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if response.Header.Get("Retry-After") != retry || response.Header.Get("X-Request-Id") != "req_1" {
				t.Errorf("status %d came with the header %v", status, response.Header)
			}
			w := want{status: status, body: body, ended: errorType}
			s.checkAnswer(t, r, response, w)
			s.checkRecords(t, r, w)
			up.checkRequests(t, 1)
		}
	}
}

// TestFault023Headers is fault 23: an answer whose header is too large, or contains bytes that are not allowed, is a
// 502. The upstream's cookies never reach a client.
func TestFault023Headers(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"1 MB":           "X-Large: " + strings.Repeat("a", 1<<20) + "\r\n",
		"11 MB":          strings.Repeat("X-Large: "+strings.Repeat("a", 1<<16)+"\r\n", 176),
		"10,000 headers": strings.Repeat("X-Many: a\r\n", 10000),
		"NUL":            "X-Odd: a\x00b\r\n",
		"CR":             "X-Odd: a\rSet-Cookie: b=c\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
				c.Write(strings.TrimSuffix(q.chunkedHead(), "\r\n") + header + "\r\n" + chunk(q.answer()) + "0\r\n\r\n")
			})
			for _, q := range questions() {
				r := s.request(t, q, faulty)
				response, err := s.client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if response.StatusCode != http.StatusBadGateway || len(response.Header) > 20 || response.Header.Get("Set-Cookie") != "" {
					t.Errorf("%v: status %d, %d headers, body %.200q", q, response.StatusCode, len(response.Header), body)
				}
				records := s.interception(t, r.UserAgent())
				if end := records[len(records)-1].GetInterceptionEnded(); end.GetErrorType() != string(aibridge.ErrorServer) {
					t.Errorf("%v: ended as %v", q, end)
				}
			}
			s.serves(t)
		})
	}
}

// TestFault024Trailers is fault 24: trailers, announced or not, reach the client, except for cookies, and do not spoil
// the next answer on either connection.
func TestFault024Trailers(t *testing.T) {
	t.Parallel()
	const trailers = "0\r\nX-Sum: 7\r\nX-More: 8\r\nSet-Cookie: a=b\r\n\r\n"
	up := rawserver.New(t, func(c *rawserver.Conn) {
		for {
			r, body := c.ReadRequest()
			if r == nil {
				return
			}
			q := questionOf(r, body)
			head := q.chunkedHead()
			if strings.Contains(string(body), faulty) {
				head = q.head("Transfer-Encoding", "chunked", "Trailer", "X-Sum")
			}
			c.Write(head + chunk(q.answer()) + trailers)
		}
	})
	s := newSite(t, up.URL(), testkit.GatewayOptions{})
	for _, q := range questions() {
		for _, model := range []string{faulty, fine} {
			r := s.request(t, q, model)
			response, err := s.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			s.checkAnswer(t, r, response, answered(q))
			s.checkRecords(t, r, answered(q))
			if got := response.Trailer; got.Get("X-Sum") != "7" || got.Get("X-More") != "8" || got.Get("Set-Cookie") != "" {
				t.Errorf("%v, %s: trailers %v", q, model, got)
			}
		}
	}
}

// TestFault026EarlyAnswer is fault 26: an upstream may answer before it has read the request. Its answer is passed on
// without waiting for the rest of the request to be sent.
func TestFault026EarlyAnswer(t *testing.T) {
	t.Parallel()
	const answer = `{"type":"error","error":{"type":"request_too_large","message":"no"}}`
	heard, uploaded := make(chan struct{}), make(chan int64, 1)
	up := rawserver.New(t, func(c *rawserver.Conn) {
		_, _ = c.Read(make([]byte, 1024))
		c.Write(head(413, "Content-Type", "application/json", "Content-Length", strconv.Itoa(len(answer))) + answer)
		<-heard
		n, _ := io.Copy(io.Discard, c) // Until the gateway hangs up.
		uploaded <- n
	})
	s := newSite(t, up.URL(), testkit.GatewayOptions{})
	q := question{messagesFormat(), true}
	body := `{"padding":"` + strings.Repeat("long ", 12<<20/5) + `",` + q.body(fine)[1:]
	r := s.Request(t, http.MethodPost, q.format.path, body)
	r.Header.Set("User-Agent", s.agent())
	s.check(t, r, want{status: 413, body: answer, ended: aibridge.ErrorBadRequest})
	close(heard)
	if n := <-uploaded; n >= int64(len(body))-1024 {
		t.Error("the upload went on to its end")
	}
}

// TestFault025HTTP2 is fault 25: when the upstream resets an HTTP/2 stream, only its client's stream breaks off; the
// others on the same connection end normally.
func TestFault025HTTP2(t *testing.T) {
	t.Parallel()
	other := make(chan struct{}) // Closed when the other stream may end.
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		q := questionOf(r, body)
		if r.ProtoMajor != 2 {
			t.Errorf("asked over %s", r.Proto)
		}
		w.Header().Set("Content-Type", q.contentType())
		if !q.stream {
			_, _ = io.WriteString(w, q.answer())
			return
		}
		events := q.format.events
		_, _ = io.WriteString(w, events[0])
		_ = http.NewResponseController(w).Flush()
		if strings.Contains(string(body), faulty) {
			panic(http.ErrAbortHandler)
		}
		<-other
		_, _ = io.WriteString(w, strings.Join(events[1:], ""))
	}))
	up.EnableHTTP2 = true
	up.Config.ErrorLog = log.New(io.Discard, "", 0)
	up.StartTLS()
	t.Cleanup(up.Close)
	transport, ok := up.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("httptest's transport is another")
	}
	transport.DisableCompression = true
	s := newSite(t, up.URL, testkit.GatewayOptions{Provider: providersOver(t, up.URL, transport)})
	s.upstream = up.Listener.Addr().String()

	beside := question{chatFormat(), true}
	r := s.request(t, beside, fine)
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range streams() {
		s.check(t, s.request(t, q, faulty), broken(q, 1))
	}
	close(other)
	s.checkAnswer(t, r, response, answered(beside))
	s.checkRecords(t, r, answered(beside))
	s.serves(t)
}

// TestFault113PanicBelow is fault 113: a panic fails only its own request, with an error in the shape of the API, or
// with a stream that breaks off. The log has the stack and nothing of the request; the interception ends.
func TestFault113PanicBelow(t *testing.T) {
	t.Parallel()
	s := newSite(t, "http://upstream.invalid", testkit.GatewayOptions{
		Provider: providersOver(t, "http://upstream.invalid", upstreamFunc(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			q := questionOf(r, body)
			switch {
			case !strings.Contains(string(body), faulty):
				return answerOf(r, q.contentType(), io.NopCloser(strings.NewReader(q.answer()))), nil
			case q.stream:
				first := strings.NewReader(q.format.events[0])
				return answerOf(r, q.contentType(), io.NopCloser(io.MultiReader(first, panics{}))), nil
			}
			panic(errors.New("a fault"))
		})),
	})
	for _, f := range formats() {
		s.check(t, s.request(t, question{f, false}, faulty), failed(500, "internal error", aibridge.ErrorServer))
		w := broken(question{f, true}, 1)
		w.ended = aibridge.ErrorServer
		s.check(t, s.request(t, question{f, true}, faulty), w)
	}
	s.serves(t)
	if got := s.Log.String(); !strings.Contains(got, "a fault") || !strings.Contains(got, "faults_upstream_test.go") {
		t.Error("the log does not say what panicked, and where")
	}
}

// panics is a body that panics when it is read.
type panics struct{}

func (panics) Read([]byte) (int, error) { panic("a fault in the middle") }
