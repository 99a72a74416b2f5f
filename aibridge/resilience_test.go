package aibridge

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"cdr.dev/slog/v3"
	"cdr.dev/slog/v3/sloggers/sloghuman"
	"github.com/prometheus/client_golang/prometheus"
)

// said is one answer of a scripted upstream.
type said struct {
	status int   // Zero: no answer.
	err    error // Why there is none; nil: it was not reached.
	header http.Header
	body   string
	cut    bool // The answer breaks off behind its body.
	silent bool // The answer goes on behind its body, and nothing more comes.
}

// scripted is an upstream that answers by the key of a request, and keeps what it was asked.
type scripted struct {
	answer func(key string, r *http.Request) said

	mu    sync.Mutex
	asked []string // Guarded by mu: the keys of the requests, and their bodies.
}

var errNotReached = errors.New("not reached")

func (u *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := ""
	if r.Body != nil {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		asked = string(text)
	}
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + r.Header.Get("X-Api-Key")
	u.mu.Lock()
	u.asked = append(u.asked, key+" "+asked)
	u.mu.Unlock()
	a := u.answer(key, r)
	if a.status == 0 {
		return nil, cmp.Or(a.err, errNotReached)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	for name, values := range a.header {
		header[name] = values
	}
	rest := io.Reader(strings.NewReader(a.body))
	if a.cut {
		rest = io.MultiReader(rest, failing{})
	}
	body := io.NopCloser(rest)
	if a.silent {
		body = &silent{Reader: rest, closed: make(chan struct{})}
	}
	return &http.Response{
		StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: header, Body: body, ContentLength: -1,
	}, nil
}

// silent is a body that does not end until it is closed.
type silent struct {
	io.Reader

	once   sync.Once
	closed chan struct{}
}

func (s *silent) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err == io.EOF && n == 0 {
		<-s.closed
		return 0, http.ErrBodyReadAfterClose
	}
	return n, nil
}

func (s *silent) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// keys returns the keys of the requests so far, and forgets them.
func (u *scripted) keys() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var keys []string
	for _, asked := range u.asked {
		key, _, _ := strings.Cut(asked, " ")
		keys = append(keys, key)
	}
	u.asked = nil
	return strings.Join(keys, " ")
}

// recordedEnds is a Recorder that keeps the ends of interceptions.
type recordedEnds struct {
	mu   sync.Mutex
	ends []*InterceptionEnd // Guarded by mu.
}

func (r *recordedEnds) Record(_ context.Context, records ...Record) (Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range records {
		if end, ok := record.(*InterceptionEnd); ok {
			r.ends = append(r.ends, end)
		}
	}
	return nil, nil
}

// take returns the ends so far, as "hint errorType" each, and forgets them.
func (r *recordedEnds) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ends []string
	for _, end := range r.ends {
		ends = append(ends, strings.TrimSpace(end.CredentialHint+" "+string(end.ErrorType)))
	}
	r.ends = nil
	return strings.Join(ends, ", ")
}

// resilient is a bridge to providers of all formats at one scripted upstream.
type resilient struct {
	*RequestBridge

	up      *scripted
	ends    recordedEnds
	log     bytes.Buffer
	metrics *prometheus.Registry
}

// The keys of the tests, and their hints. The first two are of one account.
const (
	keyA, hintA = "key-aaaa-0123456789-aaaa", "key-...aaaa"
	keyB, hintB = "key-bbbb-0123456789-bbbb", "key-...bbbb"
	keyC, hintC = "key-cccc-0123456789-cccc", "key-...cccc"
)

func threeKeys() []Key { return []Key{{keyA, "x"}, {keyB, "x"}, {keyC, "y"}} }

func newResilient(t *testing.T, options ProviderOptions, answer func(key string, r *http.Request) said) *resilient {
	t.Helper()
	b := &resilient{up: &scripted{answer: answer}, metrics: prometheus.NewPedanticRegistry()}
	options.Transport = b.up
	anthropic, err := NewAnthropicProvider("anthropic", options)
	if err != nil {
		t.Fatal(err)
	}
	openai, err := NewOpenAIProvider("openai", options)
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewProviderSet(anthropic, openai)
	if err != nil {
		t.Fatal(err)
	}
	metrics := NewMetrics(b.metrics)
	metrics.Watch(set)
	b.RequestBridge = NewRequestBridge(set, &b.ends, BridgeOptions{
		Logger: slog.Make(sloghuman.Sink(&b.log)).Leveled(slog.LevelDebug), Metrics: metrics,
	})
	return b
}

// send sends a request of a user, and returns the answer. Headers are names and values.
func (b *resilient) send(target, body string, header ...string) *httptest.ResponseRecorder {
	return b.sendAs("ada", target, body, header...)
}

func (b *resilient) sendAs(user, target, body string, header ...string) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(target, " ")
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if reason := recover(); reason != nil && reason != http.ErrAbortHandler {
				panic(reason)
			}
		}()
		b.ServeHTTP(w, r.WithContext(AsActor(r.Context(), Actor{ID: user})))
	}()
	return w
}

// metric returns the value of a metric with these labels, "name=value" each in the order of their names.
func (b *resilient) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var got []string
			for _, label := range m.GetLabel() {
				got = append(got, label.GetName()+"="+label.GetValue())
			}
			if fmt.Sprint(got) == fmt.Sprint(labels) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s with %v", name, labels)
	return 0
}

// way is one way to ask, and what the upstream answers.
type way struct{ target, body, answer, mediaType string }

// waysToAsk are all recorded formats, streamed and not.
func waysToAsk() map[string]way {
	const (
		stream   = "text/event-stream"
		whole    = "application/json"
		message  = `{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":1}}`
		chat     = `{"id":"c_1","object":"chat.completion","model":"gpt-x","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}`
		response = `{"id":"resp_1","object":"response","model":"gpt-x","status":"completed","output":[],"usage":{"input_tokens":3,"output_tokens":1}}`
		vectors  = `{"object":"list","data":[],"model":"e","usage":{"prompt_tokens":3,"total_tokens":3}}`
	)
	return map[string]way{
		"messages":           {"POST /anthropic/v1/messages", messagesBody, message, whole},
		"messages, streamed": {"POST /anthropic/v1/messages", strings.Replace(messagesBody, "{", `{"stream":true,`, 1), "event: message_start\ndata: {\"type\":\"message_start\",\"message\":" + message + "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", stream},
		"chat":               {"POST /openai/v1/chat/completions", chatBody, chat, whole},
		"chat, streamed": {
			"POST /openai/v1/chat/completions", strings.Replace(chatBody, "{", `{"stream":true,"stream_options":{"include_usage":true},`, 1),
			"data: {\"id\":\"c_1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n", stream,
		},
		"responses":           {"POST /openai/v1/responses", responsesBody, response, whole},
		"responses, streamed": {"POST /openai/v1/responses", strings.Replace(responsesBody, "{", `{"stream":true,`, 1), "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":" + response + "}\n\n", stream},
		"compact":             {"POST /openai/v1/responses/compact", responsesBody, response, whole},
		"embeddings":          {"POST /openai/v1/embeddings", `{"model":"e","input":"x"}`, vectors, whole},
	}
}

// fine is the answer that a request gets if nothing is wrong.
func (a way) fine() said {
	return said{status: http.StatusOK, header: http.Header{"Content-Type": {a.mediaType}}, body: a.answer}
}

// failureIn returns the text and the type of an error in the shape of the API that was asked, and checks the shape.
func (a way) failureIn(t *testing.T, body string) string {
	t.Helper()
	prefix := `{"error":{"message":"`
	if strings.Contains(a.target, "anthropic") {
		prefix = `{"type":"error","error":{"type":"`
	}
	if !strings.HasPrefix(body, prefix) {
		t.Errorf("%s: the body is no error of the API: %s", a.target, body)
	}
	return body
}

// refusals are answers that refuse a key, by what becomes of it.
func refusals() map[string]said {
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	return map[string]said{
		"limited":             {status: 429, header: header("Retry-After", "17"), body: `{"error":{"message":"slow down"}}`},
		"limited, no wait":    {status: 429},
		"limited, no JSON":    {status: 429, body: "<html>"},
		"unauthorized":        {status: 401, body: `{"error":{"message":"no such key"}}`},
		"no credit":           {status: 400, body: `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}`},
		"no quota":            {status: 429, body: `{"error":{"message":"x","type":"insufficient_quota","code":"insufficient_quota"}}`},
		"payment required":    {status: 402},
		"cut off in its body": {status: 429, body: `{"error":`, cut: true},
		"without an end":      {status: 401, body: `{"error":`, silent: true},
	}
}
