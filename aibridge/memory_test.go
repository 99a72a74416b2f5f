package aibridge

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"cdr.dev/slog/v3"
)

// upstreamFunc is an upstream.
type upstreamFunc func(*http.Request) (*http.Response, error)

func (f upstreamFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answering returns an upstream that answers each request with a body.
func answering(body string) upstreamFunc {
	return func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		return &http.Response{
			StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	}
}

// remembered is a Recorder that keeps its records.
type remembered struct {
	mu      sync.Mutex
	records []Record // Guarded by mu.
}

func (r *remembered) Record(_ context.Context, records ...Record) (Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, records...)
	return nil, nil
}

// within returns a bridge to upstream whose bodies may take limit bytes.
func within(t *testing.T, limit int64, upstream http.RoundTripper) (*RequestBridge, *Memory, *remembered) {
	t.Helper()
	shared, records := NewMemory(limit), &remembered{}
	messages, err := NewAnthropicProvider("messages", ProviderOptions{Key: "key", Transport: upstream, Memory: shared})
	if err != nil {
		t.Fatal(err)
	}
	chat, err := NewOpenAIProvider("chat", ProviderOptions{Key: "key", Transport: upstream, Memory: shared})
	if err != nil {
		t.Fatal(err)
	}
	providers, err := NewProviderSet(messages, chat)
	if err != nil {
		t.Fatal(err)
	}
	return NewRequestBridge(providers, records, BridgeOptions{}), shared, records
}

// question is a request of about size bytes.
func question(size int) string {
	return `{"model":"m","max_tokens":1,"stream":true,"messages":[],"x":"` + strings.Repeat("x", size) + `"}`
}

func compressed(text string) string {
	var coded bytes.Buffer
	w := gzip.NewWriter(&coded)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return coded.String()
}

// asked is one request of the tests below.
type asked struct {
	path, coding, body string
	chunked            bool
}

func (a asked) send(bridge http.Handler) *httptest.ResponseRecorder {
	var body io.Reader = strings.NewReader(a.body)
	if a.chunked {
		body = io.MultiReader(body)
	}
	r := httptest.NewRequest(http.MethodPost, a.path, body)
	if a.coding != "" {
		r.Header.Set("Content-Encoding", a.coding)
	}
	w := httptest.NewRecorder()
	bridge.ServeHTTP(w, r.WithContext(AsActor(r.Context(), Actor{ID: "ada"})))
	return w
}

// TestFault060NoMemory fills the memory for large bodies, and then all of it. What does not fit is refused with 503
// before it is sent or recorded, and the rest is served.
func TestFault060NoMemory(t *testing.T) {
	sent := 0
	bridge, shared, records := within(t, 16<<20, upstreamFunc(func(r *http.Request) (*http.Response, error) {
		sent++
		return answering(`{}`)(r)
	}))
	large, small := question(2<<20), question(100)
	largeOnes := []asked{
		{path: "/messages/v1/messages", body: large},
		{path: "/messages/v1/messages", body: large, chunked: true},
		{path: "/messages/v1/messages", body: compressed(large), coding: "gzip"},
		{path: "/messages/v1/messages", body: compressed(compressed(large)), coding: "gzip, gzip"},
		{path: "/messages/v1/messages/count_tokens", body: large},
	}
	smallOnes := []asked{
		{path: "/messages/v1/messages", body: small},
		{path: "/chat/v1/chat/completions", body: small}, // It is edited, so it takes a copy.
		{path: "/messages/v1/messages", body: compressed(small), coding: "gzip"},
		{path: "/messages/v1/messages/count_tokens", body: small},
	}
	refused := func(a asked) {
		t.Helper()
		sent, records.records = 0, nil
		w := a.send(bridge)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"error"`) {
			t.Errorf("%s, %s: status %d, %v: %s", a.path, a.coding, w.Code, w.Header(), w.Body)
		}
		if sent != 0 || len(records.records) != 0 {
			t.Errorf("%s, %s: sent %d times, %d records", a.path, a.coding, sent, len(records.records))
		}
	}
	served := func(a asked) {
		t.Helper()
		if w := a.send(bridge); w.Code != http.StatusOK {
			t.Errorf("%s, %s: status %d: %s", a.path, a.coding, w.Code, w.Body)
		}
	}
	for _, a := range append(largeOnes, smallOnes...) {
		served(a)
	}
	for range 11 {
		if err := shared.pool.Take(1 << 20); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range largeOnes {
		refused(a)
	}
	for _, a := range smallOnes {
		served(a)
	}
	rest := shared.Limit() - shared.Used()
	for range rest / (1 << 20) {
		if err := shared.pool.Take(1 << 20); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range append(largeOnes, smallOnes...) {
		refused(a)
	}
	shared.pool.Give(shared.Limit())
	for _, a := range append(largeOnes, smallOnes...) {
		served(a)
	}
	if shared.Used() != 0 {
		t.Errorf("%d bytes are still used", shared.Used())
	}
}

// TestBodyThatNeverFits is told so: to try again would not help.
func TestBodyThatNeverFits(t *testing.T) {
	bridge, _, _ := within(t, 4<<20, answering(`{}`))
	for _, a := range []asked{
		{path: "/messages/v1/messages", body: question(4 << 20)},
		{path: "/messages/v1/messages", body: compressed(question(4 << 20)), coding: "gzip"},
	} {
		if w := a.send(bridge); w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: status %d: %s", a.coding, w.Code, w.Body)
		}
	}
}

// unreadLog counts the lines that say that something was not read.
type unreadLog struct{ unread int }

func (l *unreadLog) LogEntry(_ context.Context, entry slog.SinkEntry) {
	for _, field := range entry.Fields {
		if field.Name == "unread" {
			l.unread++
		}
	}
}

func (l *unreadLog) Sync() {}

// TestAnswerWithoutMemory is about answers that come when there is no memory, from their beginning or after a megabyte.
// They have been paid for, so they are relayed; the log says that they were not read.
func TestAnswerWithoutMemory(t *testing.T) {
	for name, left := range map[string]int64{"none": 0, "some": 2 << 20} {
		answer := `{"type":"message","content":[{"type":"text","text":"` + strings.Repeat("word ", 1<<20) + `"}]}`
		log := &unreadLog{}
		var shared *Memory
		var bridge *RequestBridge
		var records *remembered
		bridge, shared, records = within(t, 32<<20, upstreamFunc(func(r *http.Request) (*http.Response, error) {
			response, err := answering(answer)(r)
			response.Body = io.NopCloser(iotest.OneByteReader(strings.NewReader(answer)))
			if left > 0 {
				response.Body = io.NopCloser(strings.NewReader(answer))
			}
			for shared.Used()+left < shared.Limit() {
				if shared.pool.Take(min(1<<10, shared.Limit()-left-shared.Used())) != nil {
					break
				}
			}
			return response, err
		}))
		bridge.options.Logger = slog.Make(log)
		w := asked{path: "/messages/v1/messages", body: question(10)}.send(bridge)
		if w.Code != http.StatusOK || w.Body.String() != answer {
			t.Errorf("%s: status %d, %d bytes, want %d", name, w.Code, w.Body.Len(), len(answer))
		}
		end, ok := records.records[len(records.records)-1].(*InterceptionEnd)
		if !ok || end.ErrorType != "" || end.ResponseBytes != int64(len(answer)) {
			t.Errorf("%s: %+v", name, records.records[len(records.records)-1])
		}
		if log.unread != 1 {
			t.Errorf("%s: the log says that %d answers were not read", name, log.unread)
		}
	}
}

// TestMemoryGoesBack ends requests in every way that there is, and checks that none keeps memory.
func TestMemoryGoesBack(t *testing.T) {
	broken := func(r *http.Request) (*http.Response, error) {
		response, err := answering("")(r)
		response.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"type":`), iotest.ErrReader(errors.New("broken"))))
		return response, err
	}
	for name, upstream := range map[string]upstreamFunc{
		"answers":          answering(`{"type":"message"}`),
		"never reads":      func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") },
		"panics":           func(*http.Request) (*http.Response, error) { panic("a bug") },
		"breaks off":       broken,
		"answers no JSON":  answering(`<html>`),
		"answers too much": answering(`{"type":"message","x":"` + strings.Repeat("x", 3<<20) + `"}`),
	} {
		bridge, shared, _ := within(t, 64<<20, upstream)
		for _, a := range []asked{
			{path: "/messages/v1/messages", body: question(10)},
			{path: "/messages/v1/messages", body: question(3 << 20), chunked: true},
			{path: "/chat/v1/chat/completions", body: question(3 << 20)},
			{path: "/messages/v1/messages", body: compressed(question(3 << 20)), coding: "gzip"},
			{path: "/messages/v1/messages", body: compressed(question(3 << 20))[:1000], coding: "gzip"},
			{path: "/messages/v1/messages", body: "{", coding: "unknown"},
			{path: "/messages/v1/messages", body: "{"},
			{path: "/messages/v1/messages/count_tokens", body: question(3 << 20)},
		} {
			func() {
				defer func() { _ = recover() }() // A broken answer ends in http.ErrAbortHandler.
				a.send(bridge)
			}()
			if used := shared.Used(); used != 0 {
				t.Errorf("%s, %s %s: %d bytes are still used", name, a.path, a.coding, used)
			}
		}
	}
}

// slowCommit is a Recorder whose records become safe only once the upstream has the request.
type slowCommit struct{ sent chan struct{} }

func (s slowCommit) Record(context.Context, ...Record) (Commit, error) { return s, nil }

func (s slowCommit) Wait(context.Context) error {
	select {
	case <-s.sent:
		return nil
	default:
		return errors.New("waited for before the request was sent")
	}
}

// TestSmallRequestsWaitForNoRecord is about requests with small bodies, also in a coding that does not say their size: they
// are sent before their record is safe. A large one is not.
func TestSmallRequestsWaitForNoRecord(t *testing.T) {
	small, large := question(100), question(2<<20)
	for name, test := range map[string]struct {
		asked
		waits bool
	}{
		"plain":         {asked{path: "/messages/v1/messages", body: small}, false},
		"gzip":          {asked{path: "/messages/v1/messages", body: compressed(small), coding: "gzip"}, false},
		"gzip twice":    {asked{path: "/messages/v1/messages", body: compressed(compressed(small)), coding: "gzip, gzip"}, false},
		"large":         {asked{path: "/messages/v1/messages", body: large}, true},
		"large in gzip": {asked{path: "/messages/v1/messages", body: compressed(large), coding: "gzip"}, true},
	} {
		sent := make(chan struct{})
		bridge, _, _ := within(t, 64<<20, upstreamFunc(func(r *http.Request) (*http.Response, error) {
			close(sent)
			return answering(`{"type":"message"}`)(r)
		}))
		bridge.recorder = slowCommit{sent}
		if w := test.send(bridge); (w.Code == http.StatusInternalServerError) != test.waits {
			t.Errorf("%s: status %d: %s", name, w.Code, w.Body)
		}
	}
}

// TestProvidersShareMemory checks that providers which are given no Memory have one together.
func TestProvidersShareMemory(t *testing.T) {
	own := NewMemory(1 << 30)
	var providers []Provider
	for name, memory := range map[string]*Memory{"one": nil, "two": nil, "three": own} {
		provider, err := NewAnthropicProvider(name, ProviderOptions{Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		providers = append(providers, provider)
	}
	set, err := NewProviderSet(providers...)
	if err != nil {
		t.Fatal(err)
	}
	one, two, three := set.byName["one"].memory, set.byName["two"].memory, set.byName["three"].memory
	if one != two || one.Limit() < 1<<20 || three != own.pool {
		t.Errorf("%p, %p and %p, %d bytes", one, two, three, one.Limit())
	}
}
