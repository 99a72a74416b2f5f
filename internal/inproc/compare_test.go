package inproc_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/inproc"
)

// TestLikeNetwork sends the same requests to the same handlers in process and over a net/http connection, and expects
// the same results.
func TestLikeNetwork(t *testing.T) {
	t.Parallel()
	for _, c := range slices.Concat(responseCases(), requestCases()) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(c.handler)
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.Start()
			defer server.Close()
			network := &http.Transport{DisableCompression: true}
			defer network.CloseIdleConnections()

			want := ask(t, network, server.URL, c)
			got := ask(t, inproc.New(c.handler, ""), server.URL, c)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("in process: %+v\nover a connection: %+v", got, want)
			}
		})
	}
}

// compared is a request and the handler that serves it.
type compared struct {
	name    string
	handler http.HandlerFunc
	// request makes the request; nil is a GET.
	request func(base string) *http.Request
}

// seen is what a client sees of an answer.
type seen struct {
	failed   string // The kind of RoundTrip's error.
	status   string
	header   http.Header
	length   int64
	announce http.Header // The trailer before the body is read.
	body     string
	bodyErr  string
	trailer  http.Header
}

func ask(t *testing.T, transport http.RoundTripper, base string, c compared) seen {
	t.Helper()
	request := newRequest(http.MethodGet, base, nil)
	if c.request != nil {
		request = c.request(base)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return seen{failed: kind(err)}
	}
	defer response.Body.Close()
	if response.Request != request {
		t.Errorf("the response is to another request")
	}
	s := seen{status: response.Status, header: response.Header.Clone(), announce: response.Trailer.Clone()}
	if declared := s.header.Get("Content-Length"); declared != "" && c.name[0] == '=' {
		s.length = response.ContentLength
	} else {
		s.header.Del("Content-Length") // net/http's server adds it to small bodies.
	}
	if s.header.Get("Content-Type") == "text/plain; charset=utf-8" {
		s.header.Del("Content-Type") // net/http's server guesses it.
	}
	s.header.Del("Date")
	body, err := io.ReadAll(response.Body)
	s.body, s.bodyErr = string(body), kind(err)
	s.trailer = response.Trailer.Clone()
	return s
}

// kind returns the kind of an error, as far as clients may rely on it.
func kind(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "cut"
	}
	return "other"
}

func newRequest(method, target string, body io.Reader) *http.Request {
	request, err := http.NewRequestWithContext(context.Background(), method, target, body)
	if err != nil {
		panic(err) // The test made the target, so it is valid.
	}
	return request
}

// with returns a request with that method and text as its body; empty means no body.
func with(method, text string) func(string) *http.Request {
	return func(base string) *http.Request {
		if text == "" {
			return newRequest(method, base, nil)
		}
		return newRequest(method, base, strings.NewReader(text))
	}
}

func responseCases() []compared {
	write := func(w http.ResponseWriter, text string) { _, _ = io.WriteString(w, text) }
	flush := func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
	return []compared{
		{"nothing written", func(http.ResponseWriter, *http.Request) {}, nil},
		{"= nothing written, length declared", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "0")
		}, nil},
		{"implicit status", func(w http.ResponseWriter, _ *http.Request) { write(w, "text") }, nil},
		{"status and body", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			write(w, "text")
		}, nil},
		{"status without body", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, nil},
		{"status without a name", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) }, nil},
		{"second status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusNotFound)
		}, nil},
		{"headers", func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h["x-lower-case"] = []string{"1"}
			h["X-Twice"] = []string{"1", "2"}
			h["X-Lines"] = []string{" a\nb\r\nc\t"}
			h["X-None"] = nil
			h["X-Empty"] = []string{""}
			h["X bad"] = []string{"1"}
			h.Set("Content-Type", "application/json")
			write(w, "{}")
		}, nil},
		{"headers after the first byte", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Early", "1")
			write(w, "text")
			flush(w)
			w.Header().Set("X-Early", "2")
			w.Header().Set("X-Late", "1")
			write(w, "more")
		}, nil},
		{"headers after the status", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Early", "1")
			w.WriteHeader(http.StatusOK)
			w.Header().Set("X-Late", "1")
			write(w, "more")
		}, nil},
		{"flush only", func(w http.ResponseWriter, _ *http.Request) { flush(w) }, nil},
		{"empty write", func(w http.ResponseWriter, _ *http.Request) {
			write(w, "")
			w.WriteHeader(http.StatusNotFound)
		}, nil},
		{"many writes", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 1000 {
				_, _ = fmt.Fprintf(w, "event %d\n", i)
				flush(w)
			}
		}, nil},
		{"large write", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte("0123456789"), 1<<17))
		}, nil},
		{"= length kept", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "8")
			write(w, "text")
			write(w, "text")
		}, nil},
		{"= length missed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			write(w, "text")
			flush(w)
			write(w, "text")
		}, nil},
		{"= length missed by all", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
		}, nil},
		{"= length exceeded", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4")
			write(w, "text")
			if n, err := io.WriteString(w, "text"); n != 0 || !errors.Is(err, http.ErrContentLength) {
				panic("the excess was written")
			}
		}, nil},
		{"length no number", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "some")
			write(w, "text")
		}, nil},
		{"length negative", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "-4")
			write(w, "text")
		}, nil},
		{"chunked by hand", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Transfer-Encoding", "chunked")
			write(w, "text")
		}, nil},
		{"identity by hand", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Transfer-Encoding", "identity")
			write(w, "text")
		}, nil},
		{"chunked and a length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Transfer-Encoding", "chunked")
			w.Header().Set("Content-Length", "9")
			write(w, "text")
		}, nil},
		{"HEAD", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Header", "1")
			if n, err := io.WriteString(w, "text"); n != 4 || err != nil {
				panic("the body of a HEAD was not swallowed")
			}
		}, with(http.MethodHead, "")},
		{"= HEAD with a length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
		}, with(http.MethodHead, "")},
		{"HEAD with nothing", func(http.ResponseWriter, *http.Request) {}, with(http.MethodHead, "")},
		{"204", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Header", "1")
			w.WriteHeader(http.StatusNoContent)
			if n, err := io.WriteString(w, "text"); n != 0 || !errors.Is(err, http.ErrBodyNotAllowed) {
				panic("a 204 got a body")
			}
		}, nil},
		{"304", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Etag", `"1"`)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "9")
			w.WriteHeader(http.StatusNotModified)
		}, nil},
		{"informational", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusContinue)
			w.WriteHeader(http.StatusCreated)
			write(w, "text")
		}, nil},
		{"trailers", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-First, x-second")
			w.Header().Add("Trailer", "X-Never")
			write(w, "text")
			w.Header().Set("X-First", "1")
			w.Header()["X-Second"] = []string{"2", "3"}
			w.Header().Set(http.TrailerPrefix+"X-Third", "4")
			w.Header().Set("X-Late", "1")
		}, nil},
		{"trailers without announcement", func(w http.ResponseWriter, _ *http.Request) {
			write(w, "text")
			flush(w)
			w.Header().Set(http.TrailerPrefix+"X-Third", "4")
		}, nil},
		{"trailers without a body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-First")
			w.WriteHeader(http.StatusOK)
			w.Header().Set("X-First", "1")
		}, nil},
		{"= trailers with a length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-First")
			w.Header().Set("Content-Length", "4")
			write(w, "text")
			w.Header().Set("X-First", "1")
		}, nil},
		{"abort before the headers", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil},
		{"abort after the headers", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			flush(w)
			panic(http.ErrAbortHandler)
		}, nil},
		{"abort in the body", func(w http.ResponseWriter, _ *http.Request) {
			write(w, "text")
			flush(w)
			panic(http.ErrAbortHandler)
		}, nil},
		{"= abort in a body of known length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			write(w, "text")
			flush(w)
			panic(http.ErrAbortHandler)
		}, nil},
	}
}

// echo answers with the request as the handler sees it, and with its body.
func echo(w http.ResponseWriter, r *http.Request) {
	header := r.Header.Clone()
	header.Del("User-Agent") // net/http's transport adds one.
	announced := r.Trailer.Clone()
	body, err := io.ReadAll(r.Body)
	print := func(name string, value any) { _, _ = fmt.Fprintf(w, "%s: %#v\n", name, value) }
	print("method", r.Method)
	print("proto", []any{r.Proto, r.ProtoMajor, r.ProtoMinor})
	print("URL", *r.URL)
	print("request URI", r.RequestURI)
	print("host", r.Host)
	print("header", sorted(header))
	print("length", r.ContentLength)
	print("transfer encoding", r.TransferEncoding)
	print("announced trailer", sorted(announced))
	print("trailer", sorted(r.Trailer))
	print("close", r.Close)
	print("body", string(body))
	print("body error", kind(err))
	again, err := r.Body.Read(make([]byte, 1))
	print("read again", []any{again, kind(err)})
	print("closed", r.Body.Close())
}

func sorted(header http.Header) []string {
	var lines []string
	for _, name := range slices.SortedFunc(maps.Keys(header), cmp.Compare[string]) {
		lines = append(lines, fmt.Sprintf("%s: %q", name, header[name]))
	}
	return lines
}

func requestCases() []compared {
	path := func(target string) func(string) *http.Request {
		return func(base string) *http.Request { return newRequest(http.MethodGet, base+target, nil) }
	}
	change := func(method string, change func(*http.Request)) func(string) *http.Request {
		return func(base string) *http.Request {
			request := newRequest(method, base, nil)
			change(request)
			return request
		}
	}
	unknown := func() io.Reader { return io.MultiReader(strings.NewReader("some "), strings.NewReader("text")) }
	return []compared{
		{"GET", echo, nil},
		{"no method", echo, change("GET", func(r *http.Request) { r.Method = "" })},
		{"odd method", echo, with("BREW", "")},
		{"path", echo, path("/v1/messages")},
		{"escaped path", echo, path("/a%2fb/c%20d/%2e%2e/e;f")},
		{"double slash", echo, path("//a//b/")},
		{"dots", echo, path("/a/../b/./c")},
		{"query", echo, path("/a?b=c&d=e;f&g=%20&g=+")},
		{"question mark only", echo, path("/a?")},
		{"fragment and user", echo, change("GET", func(r *http.Request) {
			r.URL.User = url.UserPassword("a", "b")
			r.URL.Fragment = "part"
		})},
		{"path that needs escapes", echo, change("GET", func(r *http.Request) { r.URL.Path = "/a b/?#%/ü" })},
		{"raw path of another path", echo, change("GET", func(r *http.Request) {
			r.URL.Path, r.URL.RawPath = "/a", "/b"
		})},
		{"host", echo, change("GET", func(r *http.Request) { r.Host = "example.com:81" })},
		{"headers", echo, change("GET", func(r *http.Request) {
			r.Header["x-lower-case"] = []string{"1"}
			r.Header["X-Twice"] = []string{"1", "2"}
			r.Header["X-Blanks"] = []string{" a b\t"}
			r.Header["X-None"] = nil
			r.Header["X-Empty"] = []string{""}
			r.Header["Host"] = []string{"elsewhere"}
			r.Header["Content-Length"] = []string{"9"}
			r.Header["Transfer-Encoding"] = []string{"gzip"}
		})},
		{"bad header name", echo, change("GET", func(r *http.Request) { r.Header["X bad"] = []string{"1"} })},
		{"POST", echo, with("POST", "some text")},
		{"POST with nothing", echo, with("POST", "")},
		{"PUT with nothing", echo, change("PUT", func(r *http.Request) { r.Body = http.NoBody })},
		{"DELETE with nothing", echo, change("DELETE", func(r *http.Request) { r.Body = http.NoBody })},
		{"POST of unknown length", echo, func(base string) *http.Request { return newRequest("POST", base, unknown()) }},
		{"POST of length -1", echo, func(base string) *http.Request {
			request := newRequest("POST", base, unknown())
			request.ContentLength = -1
			return request
		}},
		{"GET with a body", echo, with("GET", "some text")},
		{"trailers", echo, func(base string) *http.Request {
			request := newRequest("POST", base, unknown())
			request.Trailer = http.Header{"X-First": nil, "X-Never": nil}
			request.Body = &atEOF{request.Body, func() { request.Trailer["X-First"] = []string{"1"} }}
			return request
		}},
		{"body not read", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "text") },
			with("POST", "some text")},
		{"body closed", func(w http.ResponseWriter, r *http.Request) {
			closed := r.Body.Close()
			n, err := r.Body.Read(make([]byte, 1))
			_, _ = fmt.Fprint(w, closed, n, err)
		}, with("POST", "some text")},
	}
}

// atEOF calls a function when a body has been read to its end.
type atEOF struct {
	io.ReadCloser
	call func()
}

func (a *atEOF) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err == io.EOF {
		a.call()
	}
	return n, err
}
