package aibridge

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/aibridged/internal/memory"
)

// poisoned returns a pool that overwrites each buffer that is taken back.
func poisoned() *memory.Pool {
	pool := memory.New(64 << 20)
	pool.Poison()
	return pool
}

// lent returns a body that holds text.
func lent(t *testing.T, pool *memory.Pool, text string) *body {
	t.Helper()
	buffer, err := pool.Lend(0)
	if err != nil {
		t.Fatal(err)
	}
	return newBody(append(buffer, text...), pool)
}

// TestBodyGoesBackWithItsLastUser checks that a holder can read a body as often as it likes, and that the buffer goes
// back when the last holder releases it.
func TestBodyGoesBackWithItsLastUser(t *testing.T) {
	const text = "a request"
	pool := poisoned()
	body := lent(t, pool, text)
	raw := body.bytes
	body.hold()
	body.release()
	for range 2 {
		if got, err := io.ReadAll(body.reader()); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	if string(raw) != text {
		t.Fatal("the buffer went back while the body was held")
	}
	body.release()
	if strings.Contains(string(raw), "request") {
		t.Error("the buffer did not go back")
	}
	if used := pool.Used(); used != 0 {
		t.Errorf("%d bytes are still used", used)
	}
}

// TestBodyIsHeldUntilSent is about a transport that says when it has sent a body, and one that never does.
func TestBodyIsHeldUntilSent(t *testing.T) {
	for _, says := range []bool{true, false} {
		pool := poisoned()
		body := lent(t, pool, "text")
		raw := body.bytes
		s := sending{client: httptest.NewRecorder(), body: outgoing{of: body, pieces: [][]byte{raw}}}
		trace := httptrace.ContextClientTrace(s.follow(t.Context()))
		s.answered()
		body.release()
		if string(raw) != "text" {
			t.Fatal("the buffer went back before it was sent")
		}
		if says {
			trace.WroteRequest(httptrace.WroteRequestInfo{})
			trace.WroteRequest(httptrace.WroteRequestInfo{}) // A transport may say so more than once.
		}
		if back := string(raw) != "text"; back != says {
			t.Errorf("the transport says so: %t, the buffer went back: %t", says, back)
		}
		body.forgo()
		if used := pool.Used(); used != 0 {
			t.Errorf("the transport says so: %t, %d bytes are still used", says, used)
		}
	}
}

// TestForgoneBodyGoesBack is about a body that was counted as free while it was still sent.
func TestForgoneBodyGoesBack(t *testing.T) {
	pool := poisoned()
	body := lent(t, pool, "text")
	raw := body.bytes
	body.hold()
	body.release()
	body.forgo()
	if used := pool.Used(); used != 0 || string(raw) != "text" {
		t.Fatalf("%d bytes are used, and the buffer has %q: it must not go back while the body is held", used, raw)
	}
	body.release()
	if again := lent(t, pool, "next"); &again.bytes[0] != &raw[0] {
		t.Error("the buffer did not go back")
	}
	if used, size := pool.Used(), int64(cap(raw)); used != size {
		t.Errorf("%d bytes are used, want %d", used, size)
	}
}

// lateReader is an upstream that answers before it has read the request, and reads on while the answer is read.
type lateReader struct {
	reading sync.WaitGroup
	sent    atomic.Pointer[string] // What the clients send.
	wrong   atomic.Int64
}

func (l *lateReader) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	l.reading.Go(func() {
		// ReverseProxy closes the body when its request is over, so this may get the beginning only.
		if got, _ := io.ReadAll(r.Body); !strings.HasPrefix(*l.sent.Load(), string(got)) {
			l.wrong.Add(1)
		}
		if trace != nil && trace.WroteRequest != nil {
			trace.WroteRequest(httptrace.WroteRequestInfo{})
		}
		_ = r.Body.Close()
	})
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"type":"message"}`)),
	}, nil
}

type noRecords struct{}

func (noRecords) Record(context.Context, ...Record) (Commit, error) { return nil, nil }

// TestNoBufferIsReadAfterItWentBack sends requests of all sizes at once, bridged and passed through, to upstreams that
// answer before they have read them: a lateReader, and a server behind net/http's transport. The race detector reports
// a read of a buffer that another request fills; the poison shows any other read.
func TestNoBufferIsReadAfterItWentBack(t *testing.T) {
	up := &lateReader{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, ` `)
		_ = http.NewResponseController(w).Flush()
		if got, err := io.ReadAll(r.Body); err == nil && string(got) != *up.sent.Load() {
			up.wrong.Add(1)
		}
		_, _ = io.WriteString(w, `{"type":"message"}`)
	}))
	defer server.Close()
	shared := &Memory{pool: poisoned()}
	late, err := NewAnthropicProvider("late", ProviderOptions{Key: "key", Transport: up, Memory: shared})
	if err != nil {
		t.Fatal(err)
	}
	real, err := NewAnthropicProvider("real", ProviderOptions{Key: "key", BaseURL: server.URL, Memory: shared})
	if err != nil {
		t.Fatal(err)
	}
	providers, err := NewProviderSet(late, real)
	if err != nil {
		t.Fatal(err)
	}
	defer providers.CloseIdleConnections()
	bridge := NewRequestBridge(providers, noRecords{}, BridgeOptions{})
	for _, size := range []int{10, 5 << 10, 100 << 10, 500 << 10} {
		body := fmt.Sprintf(`{"model":"m","messages":[],"x":"%s"}`, bytes.Repeat([]byte("x"), size))
		up.sent.Store(&body)
		var clients sync.WaitGroup
		for client := range 8 {
			clients.Go(func() {
				path := []string{"/late/v1/messages", "/real/v1/messages", "/late/v1/messages/count_tokens", "/real/v1/messages"}[client%4]
				for range 15 {
					w := httptest.NewRecorder()
					ctx := AsActor(t.Context(), Actor{ID: "ada"})
					bridge.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body)))
					if w.Code != http.StatusOK {
						t.Errorf("status %d: %s", w.Code, w.Body)
					}
				}
			})
		}
		clients.Wait()
		up.reading.Wait()
	}
	if n := up.wrong.Load(); n > 0 {
		t.Errorf("%d requests were sent with bytes that are not theirs", n)
	}
	if used := shared.Used(); used != 0 {
		t.Errorf("%d bytes are still used", used)
	}
}
