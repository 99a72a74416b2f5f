package aibridge_test

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
	"testing/synctest"
	"time"

	"github.com/coder/aibridged/aibridge"
)

// held is a Recorder whose commits wait until they are released, each with the error that it is given.
type held struct {
	start, rest chan error

	mu    sync.Mutex
	calls [][]aibridge.Record // Guarded by mu.
}

func newHeld() *held { return &held{start: make(chan error, 1), rest: make(chan error, 1)} }

func (h *held) Record(_ context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, records)
	if len(h.calls) == 1 {
		return heldCommit(h.start), nil
	}
	return heldCommit(h.rest), nil
}

type heldCommit chan error

func (c heldCommit) Wait(ctx context.Context) error {
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	beginning = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n"
	stop      = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	behind    = ": some more\n\n"
	whole     = `{"id":"msg_1","type":"message","model":"m","content":[],"usage":{"input_tokens":3,"output_tokens":1}}`
)

// pieces is an upstream whose answer is a stream of pieces, or one piece that is JSON.
type pieces []string

func (p pieces) RoundTrip(r *http.Request) (*http.Response, error) {
	kind := "text/event-stream"
	if len(p) == 1 {
		kind = "application/json"
	}
	var readers []io.Reader
	for _, piece := range p {
		readers = append(readers, strings.NewReader(piece))
	}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
		Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(io.MultiReader(readers...)),
	}, nil
}

// TestCommits checks what a client gets while records are not safe: no byte before the start is safe, and not the last
// byte before the rest is. If records may be lost, the client gets no whole answer.
func TestCommits(t *testing.T) {
	lost := errors.New("disk failed")
	for name, test := range map[string]struct {
		answer      pieces
		start, rest error
		before      string // What the client has when the start is safe and the rest is not.
		status      int
		after       string
		aborted     bool
	}{
		"stream":                    {answer: pieces{beginning, stop, behind}, before: beginning, status: 200, after: beginning + stop + behind},
		"stream, start lost":        {answer: pieces{beginning, stop}, start: lost, status: 500, after: unrecordedText},
		"stream, rest lost":         {answer: pieces{beginning, stop, behind}, rest: lost, before: beginning, status: 200, after: beginning, aborted: true},
		"stream without its end":    {answer: pieces{beginning, behind}, before: beginning + behind, status: 200, after: beginning + behind, aborted: true},
		"one piece":                 {answer: pieces{whole}, status: 200, after: whole},
		"one piece, start lost":     {answer: pieces{whole}, start: lost, status: 500, after: unrecordedText},
		"one piece, rest lost":      {answer: pieces{whole}, rest: lost, status: 500, after: unrecordedText},
		"one piece, both are lost":  {answer: pieces{whole}, start: lost, rest: lost, status: 500, after: unrecordedText},
		"end in the first piece":    {answer: pieces{beginning + stop, behind}, status: 200, after: beginning + stop + behind},
		"end, rest lost, one piece": {answer: pieces{beginning + stop + behind, behind}, rest: lost, status: 200, aborted: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				recorder := newHeld()
				bridge := newBridge(t, test.answer, recorder, aibridge.BridgeOptions{})
				ctx := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{}) // So that it aborts.
				r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/p/v1/messages", strings.NewReader(`{"model":"m","messages":[]}`))
				w := httptest.NewRecorder()
				aborted := make(chan any, 1)
				go func() {
					defer func() { aborted <- recover() }()
					bridge.ServeHTTP(w, r)
				}()

				synctest.Wait()
				if w.Body.Len() > 0 || w.Flushed {
					t.Errorf("before the start is safe: got %q", w.Body)
				}
				recorder.start <- test.start
				synctest.Wait()
				if test.start == nil && w.Body.String() != test.before {
					t.Errorf("before the rest is safe: got %q, want %q", w.Body, test.before)
				}
				recorder.rest <- test.rest
				reason := <-aborted
				if got := w.Body.String(); w.Code != test.status || got != test.after || (reason != nil) != test.aborted {
					t.Errorf("in the end: %d, aborted with %v, got %q, want %d, %t, %q", w.Code, reason, got, test.status, test.aborted, test.after)
				}
				if n := len(recorder.calls); n != 2 {
					t.Errorf("recorded in %d calls", n)
				}
			})
		})
	}
}

const unrecordedText = `{"type":"error","error":{"type":"api_error","message":"the request could not be recorded"}}`

const (
	chatText   = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n"
	chatFinish = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
	chatUsage  = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n"
	failed     = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"no\"}}\n\n"
)

// slowly is an upstream whose pieces come a second apart.
type slowly struct{ pieces }

func (s slowly) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := append(s.pieces, "").RoundTrip(r) // More than one: a stream.
	response.Body = struct {
		io.Reader
		io.Closer
	}{&slowReader{s.pieces}, response.Body}
	return response, err
}

type slowReader struct{ pieces []string }

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.pieces[0])
	if r.pieces = r.pieces[1:]; len(r.pieces) > 0 {
		time.Sleep(time.Second)
	}
	return n, nil
}

// TestCommitsWithoutAnEnd is the same for streams in which no event is surely the last: a chat stream without [DONE],
// and a stream that ends in an error. Bytes that may be the last are held until the records are safe, until more bytes
// come, or for a moment.
func TestCommitsWithoutAnEnd(t *testing.T) {
	for name, test := range map[string]struct {
		path   string
		answer http.RoundTripper
		before string // What the client has while the records are not safe.
		after  string
	}{
		"chat, usage last":   {"/o/v1/chat/completions", pieces{chatText, chatFinish, chatUsage}, chatText + chatFinish, chatText + chatFinish + chatUsage},
		"chat, finish last":  {"/o/v1/chat/completions", pieces{chatText, chatFinish}, chatText, chatText + chatFinish},
		"chat, one piece":    {"/o/v1/chat/completions", pieces{chatText + chatFinish, ""}, "", chatText + chatFinish},
		"messages, an error": {"/a/v1/messages", pieces{beginning, failed}, beginning, beginning + failed},
		"slow upstream":      {"/o/v1/chat/completions", slowly{pieces{chatText, chatFinish, chatUsage}}, chatText + chatFinish, chatText + chatFinish + chatUsage},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				anthropic, err := aibridge.NewAnthropicProvider("a", aibridge.ProviderOptions{Key: "key", Transport: test.answer})
				if err != nil {
					t.Fatal(err)
				}
				openai, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{Key: "key", Transport: test.answer})
				if err != nil {
					t.Fatal(err)
				}
				providers, err := aibridge.NewProviderSet(anthropic, openai)
				if err != nil {
					t.Fatal(err)
				}
				recorder := newHeld()
				recorder.start <- nil
				bridge := acting(aibridge.NewRequestBridge(providers, recorder, aibridge.BridgeOptions{}))
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, test.path,
					strings.NewReader(`{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}`))
				w := httptest.NewRecorder()
				done := make(chan struct{})
				go func() {
					defer close(done)
					bridge.ServeHTTP(w, r)
				}()
				time.Sleep(10 * time.Second) // On the bubble's clock.
				synctest.Wait()
				if got := w.Body.String(); got != test.before {
					t.Errorf("before the records are safe: got %q, want %q", got, test.before)
				}
				recorder.rest <- nil
				<-done
				if got := w.Body.String(); got != test.after {
					t.Errorf("in the end: got %q, want %q", got, test.after)
				}
			})
		})
	}
}

// TestBlankBeforeAnswer is about an upstream that keeps a blocking connection alive with white space: that goes on at once,
// and the answer when it is whole and its records are safe. One that breaks off then breaks off here too.
func TestBlankBeforeAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		pieces  []string
		broken  bool
		after   string
		aborted bool
	}{
		"whole":  {pieces: []string{" ", "\r\n", "\t " + whole[:10], whole[10:]}, after: " \r\n\t " + whole},
		"broken": {pieces: []string{" ", "\r\n", "\t " + whole[:10]}, broken: true, after: " \r\n", aborted: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := &slowReader{pieces: test.pieces}
				recorder := newHeld()
				recorder.start <- nil
				bridge := newBridge(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					response, err := pieces{whole}.RoundTrip(r)
					var rest io.Reader = strings.NewReader("")
					if test.broken {
						rest = iotest.ErrReader(io.ErrUnexpectedEOF)
					}
					response.Body = io.NopCloser(io.MultiReader(body, rest))
					return response, err
				}), recorder, aibridge.BridgeOptions{})
				w := httptest.NewRecorder()
				aborted := make(chan any, 1)
				go func() {
					defer func() { aborted <- recover() }()
					bridge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/p/v1/messages", strings.NewReader(`{"model":"m","messages":[]}`)))
				}()
				time.Sleep(2500 * time.Millisecond) // The first two pieces have come.
				synctest.Wait()
				if got := w.Body.String(); got != " \r\n" || !w.Flushed {
					t.Errorf("while the upstream is at work: got %q, flushed: %t", got, w.Flushed)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if got := w.Body.String(); got != " \r\n" {
					t.Errorf("before the records are safe: got %q", got)
				}
				recorder.rest <- nil
				if reason := <-aborted; (reason != nil) != test.aborted || w.Body.String() != test.after {
					t.Errorf("in the end: aborted with %v, got %q, want %q", reason, w.Body, test.after)
				}
			})
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestCommitsOfCodedStream is about a stream in a coding that nobody asked for: its records are safe before the bytes that
// end it go out, be it by the event that ends it or by the end of its coding.
func TestCommitsOfCodedStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var coded bytes.Buffer
		coder := gzip.NewWriter(&coded)
		var cut []int
		for _, event := range []string{beginning, stop} {
			_, _ = io.WriteString(coder, event)
			_ = coder.Flush()
			cut = append(cut, coded.Len())
		}
		_ = coder.Close()
		all := coded.String()
		recorder := newHeld()
		recorder.start <- nil
		bridge := newBridge(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			response, err := pieces{all[:cut[0]], all[cut[0]:cut[1]], all[cut[1]:]}.RoundTrip(r)
			response.Header.Set("Content-Encoding", "gzip")
			return response, err
		}), recorder, aibridge.BridgeOptions{})
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			bridge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/p/v1/messages", strings.NewReader(`{"model":"m","stream":true,"messages":[]}`)))
		}()
		synctest.Wait()
		if got := w.Body.String(); got != all[:cut[0]] {
			t.Errorf("before the records are safe: got %d bytes, want %d", len(got), cut[0])
		}
		recorder.rest <- nil
		<-done
		if got := w.Body.String(); got != all {
			t.Errorf("in the end: got %d bytes, want %d", len(got), len(all))
		}
	})
}

// TestWriterWithoutFlush is about a host whose writers cannot flush, and have no deadlines: streams go through all the same.
func TestWriterWithoutFlush(t *testing.T) {
	w := httptest.NewRecorder()
	plain := struct{ http.ResponseWriter }{w}
	bridge := newBridge(t, pieces{beginning, stop}, discard{}, aibridge.BridgeOptions{})
	bridge.ServeHTTP(plain, httptest.NewRequest(http.MethodPost, "/p/v1/messages", strings.NewReader(`{"model":"m","stream":true,"messages":[]}`)))
	if got := w.Body.String(); got != beginning+stop {
		t.Errorf("got %q", got)
	}
}
