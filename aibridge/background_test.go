package aibridge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
)

const (
	storedFinal = `{"id":"resp_1","object":"response","background":true,"status":"completed","model":"m","output":[` +
		`{"type":"function_call","call_id":"c","name":"look","arguments":"{}"}],"usage":{"input_tokens":3,"output_tokens":1}}`
	storedStreamed = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":" + storedFinal + "}\n\n"
)

// storedUpstream is an upstream that gives one answer.
type storedUpstream struct{ kind, body string }

func (a storedUpstream) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {a.kind}}, Body: io.NopCloser(strings.NewReader(a.body)), ContentLength: -1,
	}, nil
}

// refuses is a recorder that refuses while it has errors. Before it takes records, it calls taken.
type refuses struct {
	mu     sync.Mutex
	errs   []error  // Guarded by mu; for the next calls.
	took   []Record // Guarded by mu.
	before func()
}

func (r *refuses) Record(_ context.Context, records ...Record) (Commit, error) {
	if r.before != nil {
		r.before()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) > 0 {
		err := r.errs[0]
		r.errs = r.errs[1:]
		return nil, err
	}
	r.took = append(r.took, records...)
	return nil, nil
}

func storedBridge(t *testing.T, up http.RoundTripper, recorder Recorder) *RequestBridge {
	t.Helper()
	provider, err := NewOpenAIProvider("openai", ProviderOptions{Key: "key", Transport: up})
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewProviderSet(provider)
	if err != nil {
		t.Fatal(err)
	}
	return NewRequestBridge(set, recorder, BridgeOptions{})
}

// TestStoredIsRecordedFirst is about the order: a client gets the end of a final state once it is recorded, and nothing
// of it if it cannot be recorded. It then is recorded when it is read again.
func TestStoredIsRecordedFirst(t *testing.T) {
	for name, test := range map[string]struct {
		storedUpstream

		target string
	}{
		"body":   {storedUpstream{"application/json", storedFinal}, "/openai/v1/responses/resp_1"},
		"stream": {storedUpstream{"text/event-stream", storedStreamed}, "/openai/v1/responses/resp_1?stream=true"},
		"stream without a type": {
			storedUpstream{"", storedStreamed}, "/openai/v1/responses/resp_1?stream=true",
		},
		"stream with another type": {
			storedUpstream{"text/plain", storedStreamed}, "/openai/v1/responses/resp_1?stream=true",
		},
		"body in place of a stream": {storedUpstream{"application/json; charset=utf-8", storedFinal}, "/openai/v1/responses/resp_1?stream=true"},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := &refuses{errs: []error{errors.New("no disk"), ErrNoRoom}}
			bridge := storedBridge(t, test.storedUpstream, recorder)
			ask := func() (w *httptest.ResponseRecorder, aborted bool) {
				w = httptest.NewRecorder()
				recorder.before = func() {
					if w.Body.Len() > 0 {
						t.Errorf("the client has %q before it is recorded", w.Body)
					}
				}
				defer func() { aborted = recover() != nil }()
				r := httptest.NewRequest(http.MethodGet, test.target, nil)
				ctx := context.WithValue(asAda(r).Context(), http.ServerContextKey, &http.Server{}) // So that it aborts.
				bridge.ServeHTTP(w, r.WithContext(ctx))
				return w, false
			}
			for _, status := range []int{http.StatusInternalServerError, http.StatusServiceUnavailable} {
				w, aborted := ask()
				if strings.Contains(w.Body.String(), "resp_1") || !aborted && w.Code != status {
					t.Errorf("not recorded: status %d, got %s, aborted %t", w.Code, w.Body, aborted)
				}
			}
			for range 2 {
				if w, aborted := ask(); w.Body.String() != test.body || aborted {
					t.Errorf("got %s", w.Body)
				}
			}
			if len(recorder.took) != 2 {
				t.Fatalf("recorded %v", recorder.took)
			}
			usage, _ := recorder.took[0].(*TokenUsage)
			call, _ := recorder.took[1].(*ToolUsage)
			id := backgroundID("openai", "resp_1")
			if usage == nil || usage.InputTokens != 3 || usage.BackgroundID != id || usage.Metadata["read_later"] != true {
				t.Errorf("recorded %+v", usage)
			}
			if call == nil || call.Tool != "look" || call.BackgroundID != id || call.RecordID == usage.RecordID {
				t.Errorf("recorded %+v", call)
			}
		})
	}
}

// TestStoredIsPassedOn is about answers that are no final states: they pass unchanged, and nothing is recorded.
func TestStoredIsPassedOn(t *testing.T) {
	for name, answer := range map[string]storedUpstream{
		"queued":        {"application/json", strings.Replace(storedFinal, "completed", "queued", 1)},
		"in progress":   {"application/json", strings.Replace(storedFinal, "completed", "in_progress", 1)},
		"no background": {"application/json", strings.Replace(storedFinal, `"background":true`, `"background":false`, 1)},
		"no id":         {"application/json", strings.Replace(storedFinal, `"id":"resp_1",`, ``, 1)},
		"no JSON":       {"application/json", "<html>"},
		"empty":         {"application/json", ""},
		"cut stream":    {"text/event-stream", "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"response\":{\"id\":\"resp_1\",\"background\":true}}\n\n"},
		"stream error":  {"text/event-stream", "event: error\ndata: {\"type\":\"error\",\"message\":\"no\"}\n\n"},
	} {
		recorder := &refuses{}
		w := httptest.NewRecorder()
		storedBridge(t, answer, recorder).ServeHTTP(w, asAda(httptest.NewRequest(http.MethodGet, "/openai/v1/responses/resp_1", nil)))
		if w.Code != http.StatusOK || w.Body.String() != answer.body || len(recorder.took) > 0 {
			t.Errorf("%s: status %d, got %s, recorded %v", name, w.Code, w.Body, recorder.took)
		}
	}
}

func TestBackgroundRecordIDsSort(t *testing.T) {
	background := backgroundID("openai", "resp_1")
	if background == backgroundID("other", "resp_1") || background == backgroundID("openai", "resp_2") || background != backgroundID("openai", "resp_1") {
		t.Error("ids of responses are not told apart, or not the same each time")
	}
	seen := map[uuid.UUID]bool{}
	for _, kind := range []string{"token_usage", "tool_usage", "model_thought"} {
		var before uuid.UUID
		for n := range 5000 {
			id := backgroundRecordID(background, kind, n)
			if seen[id] || n > 0 && bytes.Compare(before[:], id[:]) >= 0 {
				t.Fatalf("%s %d: %s after %s", kind, n, id, before)
			}
			seen[id], before = true, id
		}
	}
}

func TestBackgroundResponsesAreBounded(t *testing.T) {
	var known backgroundResponses
	first := backgroundID("p", "first")
	known.set(first, backgroundResponse{interception: first})
	if got := known.claim(first); got.recorded || got.interception != first {
		t.Errorf("claimed %+v", got)
	}
	if got := known.claim(first); !got.recorded {
		t.Error("claimed twice")
	}
	for range 2*mostBackground + 5 {
		known.claim(uuid.New())
	}
	if len(known.known) != mostBackground || len(known.order) != mostBackground || known.has(first) {
		t.Errorf("%d responses are remembered", len(known.known))
	}
}

// TestStoredGivesMemoryBack is about the memory that reading a response takes: it is given back, and a response that
// never fits is passed on unread.
func TestStoredGivesMemoryBack(t *testing.T) {
	large := strings.Replace(storedFinal, `"model"`, `"instructions":"`+strings.Repeat("x", 4<<20)+`","model"`, 1)
	for name, test := range map[string]struct {
		upstream storedUpstream
		records  int
	}{
		"body":   {storedUpstream{"application/json", storedFinal}, 2},
		"stream": {storedUpstream{"text/event-stream", storedStreamed}, 2},
		"large":  {storedUpstream{"application/json", large}, 0},
	} {
		memory, recorder := NewMemory(2<<20), &refuses{}
		provider, err := NewOpenAIProvider("openai", ProviderOptions{Key: "key", Transport: test.upstream, Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		set, err := NewProviderSet(provider)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		NewRequestBridge(set, recorder, BridgeOptions{}).ServeHTTP(w, asAda(httptest.NewRequest(http.MethodGet, "/openai/v1/responses/resp_1", nil)))
		if w.Body.String() != test.upstream.body || len(recorder.took) != test.records || memory.Used() != 0 {
			t.Errorf("%s: status %d, %d bytes, %d records, %d bytes still taken", name, w.Code, w.Body.Len(), len(recorder.took), memory.Used())
		}
	}
}
