package aibridge

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// poisoned returns buffers that overwrite what comes back.
func poisoned() *bodyBuffers {
	buffers := newBodyBuffers()
	buffers.poison = true
	return buffers
}

// TestBodyGoesBackWithItsLastUser is about who may read a body: all who hold it, as often as they like, and nobody else.
func TestBodyGoesBackWithItsLastUser(t *testing.T) {
	const text = "a request"
	buffers := poisoned()
	body := newBody(append(buffers.lend(0), text...), buffers)
	raw := body.bytes
	first, second := body.reader(), body.reader()
	body.release()
	for i, reader := range []*bodyReader{first, second} {
		if got, err := io.ReadAll(reader); err != nil || string(got) != text {
			t.Errorf("reader %d: %q, %v", i, got, err)
		}
		if i == 0 && string(raw) != text {
			t.Fatal("the buffer went back while it was read")
		}
	}
	if strings.Contains(string(raw), "request") {
		t.Error("the buffer did not go back")
	}
	if n, err := first.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after its end: %d, %v", n, err)
	}
	if again := buffers.lend(0); cap(again) != cap(raw) {
		t.Errorf("lent %d bytes again, want %d", cap(again), cap(raw))
	}
}

// TestClosedReaderReadsNothing is about a transport that reads on when the request is over.
func TestClosedReaderReadsNothing(t *testing.T) {
	body := newBody([]byte("text"), nil)
	reader := body.reader()
	_ = reader.Close()
	_ = reader.Close()
	body.release()
	if n, err := reader.Read(make([]byte, 4)); n != 0 || err != io.EOF {
		t.Errorf("read %d, %v", n, err)
	}
}

// lateReader is an upstream that answers before it has read the request, and reads on while the answer is read.
type lateReader struct {
	reading sync.WaitGroup
	sent    atomic.Pointer[string] // What the clients send.
	wrong   atomic.Int64
}

func (l *lateReader) RoundTrip(r *http.Request) (*http.Response, error) {
	l.reading.Go(func() {
		defer r.Body.Close()
		var got []byte
		for piece := make([]byte, 1000); ; {
			n, err := r.Body.Read(piece)
			if got = append(got, piece[:n]...); err != nil {
				break
			}
		}
		// It may end early, when the request is over, but what came is what was sent.
		if !strings.HasPrefix(*l.sent.Load(), string(got)) {
			l.wrong.Add(1)
		}
	})
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"type":"message"}`)),
	}, nil
}

type noRecords struct{}

func (noRecords) Record(context.Context, ...Record) (Commit, error) { return nil, nil }

// TestNoBufferIsReadAfterItWentBack sends requests of all sizes at once to an upstream that reads when it likes, bridged
// and passed through. The race detector sees what reads a buffer that another request fills, the poison what else does.
func TestNoBufferIsReadAfterItWentBack(t *testing.T) {
	up := &lateReader{}
	provider, err := NewAnthropicProvider("p", ProviderOptions{Key: "key", Transport: up})
	if err != nil {
		t.Fatal(err)
	}
	providers, err := NewProviderSet(provider)
	if err != nil {
		t.Fatal(err)
	}
	providers.bodies.poison = true
	bridge := NewRequestBridge(providers, noRecords{}, BridgeOptions{})
	for _, size := range []int{10, 5 << 10, 100 << 10, 2 << 20} {
		body := fmt.Sprintf(`{"model":"m","messages":[],"x":"%s"}`, bytes.Repeat([]byte("x"), size))
		up.sent.Store(&body)
		var clients sync.WaitGroup
		for client := range 8 {
			clients.Go(func() {
				path := "/p/v1/messages"
				if client%2 == 1 {
					path += "/count_tokens"
				}
				for range 20 {
					w := httptest.NewRecorder()
					bridge.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
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
}
