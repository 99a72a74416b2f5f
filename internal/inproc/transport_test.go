package inproc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/coder/aibridged/internal/contain"
	"github.com/coder/aibridged/internal/inproc"
)

// get sends a GET to handler, for the tests of this file.
func get(ctx context.Context, handler http.HandlerFunc) (*http.Response, error) {
	return inproc.New(handler, "").RoundTrip(newRequest(http.MethodGet, "http://gateway/path", nil).WithContext(ctx))
}

func mustGet(t *testing.T, ctx context.Context, handler http.HandlerFunc) *http.Response {
	t.Helper()
	response, err := get(ctx, handler)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// TestBytesAreReadableAsWritten lets the handler go on only when the client has read what it wrote.
func TestBytesAreReadableAsWritten(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	response := mustGet(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		<-read // The client must have the response with the headers alone.
		for i := range 100 {
			_, _ = fmt.Fprintf(w, "%02d", i)
			<-read
		}
	})
	defer response.Body.Close()
	read <- struct{}{}
	for i := range 100 {
		event := make([]byte, 2)
		if _, err := io.ReadFull(response.Body, event); err != nil || string(event) != fmt.Sprintf("%02d", i) {
			t.Fatalf("event %d: got %q, %v", i, event, err)
		}
		read <- struct{}{}
	}
	if n, err := response.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("at the end: got %d, %v", n, err)
	}
}

// TestBodyIsAReader runs the standard library's check of readers.
func TestBodyIsAReader(t *testing.T) {
	t.Parallel()
	content := []byte(strings.Repeat("some text that is not all the same ", 100))
	for _, size := range []int{1, 7, 512, len(content)} {
		for _, declared := range []bool{false, true} {
			response := mustGet(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
				if declared {
					w.Header().Set("Content-Length", fmt.Sprint(len(content)))
				}
				for part := range bytesInParts(content, size) {
					if n, err := w.Write(part); n != len(part) || err != nil {
						t.Errorf("wrote %d of %d bytes: %v", n, len(part), err)
					}
				}
			})
			if err := iotest.TestReader(response.Body, content); err != nil {
				t.Errorf("writes of %d bytes: %v", size, err)
			}
			if err := response.Body.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}
}

func bytesInParts(content []byte, size int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(content) > 0 {
			n := min(size, len(content))
			if !yield(content[:n]) {
				return
			}
			content = content[n:]
		}
	}
}

var errGaveUp = errors.New("the caller gave up")

// TestCancel ends the caller's context at every stage of a request.
func TestCancel(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		handler func(w http.ResponseWriter, r *http.Request) // Runs until the caller cancels.
		answers bool                                         // The handler writes headers.
		read    bool                                         // The client reads when the context ends.
	}{
		{"before the headers", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false, false},
		{"after the headers", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			<-r.Context().Done()
		}, true, true},
		{"after bytes", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "x")
			<-r.Context().Done()
		}, true, true},
		{"in a write", func(w http.ResponseWriter, _ *http.Request) {
			n, err := w.Write(make([]byte, 100))
			if n != 1 || err != errGaveUp {
				t.Errorf("the write that nobody reads got %d, %v", n, err)
			}
			if n, err := w.Write(make([]byte, 100)); n != 0 || err != errGaveUp {
				t.Errorf("the next write got %d, %v", n, err)
			}
		}, true, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			began, cause := make(chan struct{}), make(chan error, 1)
			handler := func(w http.ResponseWriter, r *http.Request) {
				close(began)
				c.handler(w, r)
				<-r.Context().Done()
				cause <- context.Cause(r.Context())
			}
			if !c.answers {
				go func() {
					<-began
					cancel(errGaveUp)
				}()
				if _, err := get(ctx, handler); err != errGaveUp {
					t.Errorf("RoundTrip returned %v, want the cause", err)
				}
			} else {
				response := mustGet(t, ctx, handler)
				defer response.Body.Close()
				if c.name != "after the headers" {
					if _, err := response.Body.Read(make([]byte, 1)); err != nil {
						t.Error(err)
					}
				}
				if c.read {
					go cancel(errGaveUp)
				} else {
					cancel(errGaveUp)
				}
				for range 2 {
					if n, err := response.Body.Read(make([]byte, 1)); n != 0 || err != errGaveUp {
						t.Errorf("read %d, %v, want the cause", n, err)
					}
				}
			}
			if err := <-cause; err != errGaveUp {
				t.Errorf("the handler's context ended with %v, want the cause", err)
			}
		})
	}
}

// TestCancelIsNeverACleanEnd has a handler that, once cancelled, returns as if its answer were complete.
func TestCancelIsNeverACleanEnd(t *testing.T) {
	t.Parallel()
	for range 500 {
		ctx, cancel := context.WithCancelCause(t.Context())
		response := mustGet(t, ctx, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half")
			<-r.Context().Done()
		})
		go cancel(errGaveUp)
		if body, err := io.ReadAll(response.Body); err != errGaveUp {
			t.Fatalf("read %q, %v, want the cause", body, err)
		}
		response.Body.Close()
	}
}

// TestEndedContext checks that a request whose context has ended reaches no handler.
func TestEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errGaveUp)
	if _, err := get(ctx, func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") }); err != errGaveUp {
		t.Errorf("got %v, want the cause", err)
	}
}

// TestClose closes bodies before their end.
func TestClose(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	written := make(chan error, 1)
	ended := make(chan struct{})
	response := mustGet(t, ctx, func(w http.ResponseWriter, r *http.Request) {
		_, err := w.Write(make([]byte, 100))
		written <- err
		<-r.Context().Done()
		close(ended)
	})
	if _, err := response.Body.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := response.Body.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if err := <-written; err == nil {
		t.Error("the write that nobody reads succeeded")
	}
	<-ended
	if ctx.Err() != nil {
		t.Error("the caller's context has ended")
	}
	if _, err := response.Body.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("a read after Close returned %v", err)
	}
}

// TestCloseUnderRead closes a body during a read.
func TestCloseUnderRead(t *testing.T) {
	t.Parallel()
	response := mustGet(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		<-r.Context().Done()
	})
	go response.Body.Close()
	if _, err := response.Body.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("the read returned %v", err)
	}
}

// TestCloseAfterAll checks that closing a body that was read to its end does not end the handler's context.
func TestCloseAfterAll(t *testing.T) {
	t.Parallel()
	closed, ended := make(chan struct{}), make(chan error)
	response := mustGet(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4")
		_, _ = io.WriteString(w, "text")
		<-closed
		ended <- r.Context().Err()
	})
	if body, err := io.ReadAll(response.Body); string(body) != "text" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	if err := response.Body.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	close(closed)
	if err := <-ended; err != nil {
		t.Errorf("the handler's context ended with %v while it worked", err)
	}
}

// TestHandlerReturns checks that the handler's context ends when the handler returns.
func TestHandlerReturns(t *testing.T) {
	t.Parallel()
	contexts := make(chan context.Context, 1)
	var late http.ResponseWriter
	response := mustGet(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
		contexts <- r.Context()
		late = w
	})
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ContentLength != 0 || response.Body != http.NoBody {
		t.Errorf("nothing written is %d with %d bytes", response.StatusCode, response.ContentLength)
	}
	if err := (<-contexts).Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("the context of a handler that returned has the error %v", err)
	}
	if n, err := late.Write([]byte("text")); n != 0 || err == nil {
		t.Errorf("a write after the handler returned: %d, %v", n, err)
	}
	if err := http.NewResponseController(late).Flush(); err == nil {
		t.Error("a flush after the handler returned succeeded")
	}
}

// TestWriterLeftBehind has a goroutine still writing when its handler returns.
func TestWriterLeftBehind(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	response := mustGet(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		go func() {
			var err error
			for err == nil {
				_, err = io.WriteString(w, "text")
			}
			failed <- err
		}()
	})
	defer response.Body.Close()
	<-failed
	if _, err := io.ReadAll(response.Body); err != nil && err != io.ErrUnexpectedEOF {
		t.Errorf("the body ended in %v", err)
	}
}

// TestPanic checks that panics become broken answers.
func TestPanic(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name       string
		handler    http.HandlerFunc
		wantStatus int
		wantBody   string
	}{
		{"before the headers", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4")
			explode()
		}, http.StatusInternalServerError, ""},
		{"after the headers", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			explode()
		}, http.StatusAccepted, ""},
		{"in the body", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "text")
			explode()
		}, http.StatusOK, "text"},
		{"for a bad status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(1000) }, http.StatusInternalServerError, ""},
	}
	for _, c := range cases {
		response := mustGet(t, t.Context(), c.handler)
		body, err := io.ReadAll(response.Body)
		panicked, ok := errors.AsType[*contain.Panic](err)
		if response.StatusCode != c.wantStatus || string(body) != c.wantBody || !ok {
			t.Errorf("%s: got %d, %q, %v", c.name, response.StatusCode, body, err)
			continue
		}
		if c.name != "for a bad status" && !bytes.Contains(panicked.Stack, []byte("inproc_test.explode")) {
			t.Errorf("%s: the stack does not show where:\n%s", c.name, panicked.Stack)
		}
	}
}

func explode() { panic("boom") }

// TestGoexit ends a handler's goroutine without a panic, as a failing test in a handler does.
func TestGoexit(t *testing.T) {
	t.Parallel()
	if _, err := get(t.Context(), func(http.ResponseWriter, *http.Request) { runtime.Goexit() }); err != io.ErrUnexpectedEOF {
		t.Errorf("before the headers: got %v", err)
	}
	response := mustGet(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "text")
		runtime.Goexit()
	})
	if body, err := io.ReadAll(response.Body); string(body) != "text" || err != io.ErrUnexpectedEOF {
		t.Errorf("in the body: got %q, %v", body, err)
	}
}

// TestPanicOnHEAD checks that the client sees a panic even though a HEAD has no body.
func TestPanicOnHEAD(t *testing.T) {
	t.Parallel()
	response, err := inproc.New(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { explode() }), "").
		RoundTrip(newRequest(http.MethodHead, "http://gateway/", nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := response.Body.Read(make([]byte, 1)); response.StatusCode != http.StatusInternalServerError || err == nil || err == io.EOF {
		t.Errorf("got %d, %v", response.StatusCode, err)
	}
}

// TestCutUpstream has a reverse proxy as the handler, whose upstream breaks off.
func TestCutUpstream(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half an ans")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer upstream.Close()
	target, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
	}
	response := mustGet(t, t.Context(), proxy.ServeHTTP)
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); string(body) != "half an ans" || err != io.ErrUnexpectedEOF {
		t.Errorf("got %q, %v, want what came and io.ErrUnexpectedEOF", body, err)
	}
}

// TestContext checks that the handler sees a server and the caller's values, but not the caller's trace.
func TestContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{})
	response := mustGet(t, ctx, func(_ http.ResponseWriter, r *http.Request) {
		if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); !ok || server == nil {
			t.Error("there is no server in the context")
		}
		if r.Context().Value(key{}) != "value" {
			t.Error("the caller's value is not in the context")
		}
		if httptrace.ContextClientTrace(r.Context()) != nil {
			t.Error("the caller's trace is in the context")
		}
	})
	response.Body.Close()
}

// TestPrefix checks that the prefix is put before the path, and that nothing else changes.
func TestPrefix(t *testing.T) {
	t.Parallel()
	cases := []struct{ url, want, wantRaw string }{
		{"http://gateway/v1/messages", "/api/x/v1/messages", ""},
		{"http://gateway/v1/messages?beta=true", "/api/x/v1/messages", ""},
		{"http://gateway", "/api/x/", ""},
		{"v1/messages", "/api/x/v1/messages", ""},
		{"http://gateway/a%2Fb", "/api/x/a/b", "/api/x/a%2Fb"},
		{"http://gateway//v1", "/api/x//v1", ""},
	}
	for _, c := range cases {
		request := newRequest(http.MethodGet, c.url, nil)
		before := *request.URL
		response, err := inproc.New(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path != c.want || r.URL.RawPath != c.wantRaw || r.URL.RawQuery != before.RawQuery {
				t.Errorf("%s is served as %#v", c.url, r.URL)
			}
			if r.URL.Host != "" || r.URL.Scheme != "" || r.RequestURI != r.URL.RequestURI() {
				t.Errorf("%s is served as %#v of %q", c.url, r.URL, r.RequestURI)
			}
		}), "/api/x").RoundTrip(request)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		response.Body.Close()
		if !reflect.DeepEqual(before, *request.URL) {
			t.Errorf("the caller's URL has changed from %v to %v", &before, request.URL)
		}
	}
}

// TestFullDuplex answers a request while the request is still being sent.
func TestFullDuplex(t *testing.T) {
	t.Parallel()
	source, sink := io.Pipe()
	response, err := inproc.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(w, r.Body)
	}), "").RoundTrip(func() *http.Request {
		go func() { _, _ = io.WriteString(sink, "ping") }()
		return newRequest(http.MethodPost, "http://gateway/", source)
	}())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got := make([]byte, 4)
	for range 10 {
		if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != "ping" {
			t.Fatalf("got %q, %v", got, err)
		}
		go func() { _, _ = io.WriteString(sink, "ping") }()
	}
	if _, err := io.ReadFull(response.Body, got); err != nil {
		t.Error(err)
	}
	sink.Close()
	if n, err := response.Body.Read(got); n != 0 || err != io.EOF {
		t.Errorf("at the end: got %d, %v", n, err)
	}
}

// TestNoHijacking checks the error that net/http's helpers return for what a writer cannot do.
func TestNoHijacking(t *testing.T) {
	t.Parallel()
	response := mustGet(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
		if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("hijacking failed with %v", err)
		}
	})
	response.Body.Close()
}

// TestNoConnection checks that what handlers do about a connection does not reach callers, and that a handler sees a Host
// even if the caller's URL has none.
func TestNoConnection(t *testing.T) {
	for url, host := range map[string]string{"http://gateway/path": "gateway", "/path": "localhost"} {
		transport := inproc.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, r.Host)
		}), "")
		response, err := transport.RoundTrip(newRequest(http.MethodGet, url, nil))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || string(body) != host || response.Header["Connection"] != nil || response.Close {
			t.Errorf("%s: %q, %v, %v", url, body, err, response.Header)
		}
	}
}

// TestClient uses the transport in net/http's client, which follows redirects.
func TestClient(t *testing.T) {
	t.Parallel()
	client := &http.Client{Transport: inproc.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/from" {
			http.Redirect(w, r, "/to", http.StatusTemporaryRedirect)
			return
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s", r.URL.Path, body)
	}), "")}
	response, err := client.Post("http://gateway/from", "text/plain", strings.NewReader("text"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); string(body) != "/to text" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
}

// TestManyAtOnce uses one transport from many goroutines.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	transport := inproc.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}), "")
	var running sync.WaitGroup
	for i := range 32 {
		running.Go(func() {
			want := strings.Repeat(fmt.Sprint(i), 10_000)
			response, err := transport.RoundTrip(newRequest(http.MethodPost, "http://gateway/", strings.NewReader(want)))
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); string(body) != want || err != nil {
				t.Errorf("got %d bytes, %v", len(body), err)
			}
		})
	}
	running.Wait()
}

// FuzzBody writes and reads in parts of any size, and checks that the bytes stay the same.
func FuzzBody(f *testing.F) {
	f.Add([]byte("some text"), uint8(1), uint8(3), uint8(2), true)
	f.Add(bytes.Repeat([]byte("x"), 1000), uint8(100), uint8(7), uint8(255), false)
	f.Fuzz(func(t *testing.T, content []byte, firstWrite, nextWrites, reads uint8, declared bool) {
		response := mustGet(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
			if declared {
				w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			}
			first := min(int(firstWrite), len(content))
			_, _ = w.Write(content[:first])
			for part := range bytesInParts(content[first:], int(nextWrites)+1) {
				_, _ = w.Write(part)
			}
		})
		defer response.Body.Close()
		var got bytes.Buffer
		buffer := make([]byte, int(reads)+1)
		for {
			n, err := response.Body.Read(buffer)
			got.Write(buffer[:n])
			if err == io.EOF {
				break
			}
			if err != nil || n == 0 {
				t.Fatalf("read %d, %v", n, err)
			}
		}
		if !bytes.Equal(got.Bytes(), content) {
			t.Errorf("read %q, want %q", got.Bytes(), content)
		}
	})
}
