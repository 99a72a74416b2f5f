package fakellm

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const ordered = `[[think: hm]] [[text: two words]] [[tool: Bash {"a":1}]]`

func TestOrderOfMessagesEvents(t *testing.T) {
	names, _ := streamed(t, New(Options{}), "messages", ordered)
	want := strings.Fields(`message_start
		content_block_start ping content_block_delta content_block_delta content_block_stop
		content_block_start content_block_delta content_block_delta content_block_stop
		content_block_start content_block_delta content_block_delta content_block_stop
		message_delta message_stop`)
	if !slices.Equal(names, want) {
		t.Errorf("got %v", names)
	}
}

// TestInputOfMessagesCalls checks that a stream's deltas have the same bytes as the body.
func TestInputOfMessagesCalls(t *testing.T) {
	s := New(Options{})
	_, data := streamed(t, s, "messages", `[[tool: Bash {"b": [ 1 ], "a": "<&>" }]]`)
	var input strings.Builder
	for _, e := range data {
		if e["type"] == "content_block_delta" {
			input.WriteString(at(t, e, "delta", "partial_json").(string))
		}
	}
	if got, want := input.String(), `{"b":[1],"a":"<&>"}`; got != want || s.Served()[0].ToolCalls[0].Input != want {
		t.Errorf("got %s, served %+v", got, s.Served())
	}
}

func TestPreliminaryUsage(t *testing.T) {
	_, data := streamed(t, New(Options{}), "messages", "[[usage: input=10 output=50 cache_read=3 cache_write=2]]")
	first := at(t, data[0], "message", "usage").(map[string]any)
	if first["input_tokens"] != 10.0 || first["cache_read_input_tokens"] != 3.0 || first["output_tokens"] != 1.0 {
		t.Errorf("message_start: %v", first)
	}
	last := data[len(data)-2]["usage"].(map[string]any)
	if last["cache_creation_input_tokens"] != 2.0 || last["output_tokens"] != 50.0 {
		t.Errorf("message_delta: %v", last)
	}
}

func TestOrderOfChatChunks(t *testing.T) {
	names, data := streamed(t, New(Options{}), "chat", ordered)
	if want := append(slices.Repeat([]string{""}, 8), "[DONE]"); !slices.Equal(names, want) {
		t.Errorf("names %q", names)
	}
	var got []string
	for _, chunk := range data {
		if choices := chunk["choices"].([]any); len(choices) == 0 {
			got = append(got, "usage")
			continue
		}
		for _, field := range []string{"role", "reasoning_content", "content", "tool_calls"} {
			if at(t, chunk, "choices", 0, "delta", field) != nil {
				got = append(got, field)
				break
			}
		}
		if at(t, chunk, "choices", 0, "finish_reason") != nil {
			got = append(got, "finish")
		}
	}
	want := strings.Fields("role reasoning_content content content tool_calls tool_calls finish usage")
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestChatTellsUsageOnlyIfAsked(t *testing.T) {
	const body = `{"model":"x","stream":true,"messages":[{"role":"user","content":"hi"}]}`
	answer := post(t, New(Options{}), "/v1/chat/completions", body).Body.String()
	if strings.Contains(answer, `"usage"`) || strings.Contains(answer, `"choices":[]`) {
		t.Error(answer)
	}
}

func TestOrderOfResponsesEvents(t *testing.T) {
	names, _ := streamed(t, New(Options{}), "responses", ordered+"[[tool: patch text]]")
	want := strings.Fields(`created in_progress
		output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done
		reasoning_summary_part.done output_item.done
		output_item.added content_part.added output_text.delta output_text.delta output_text.done content_part.done
		output_item.done
		output_item.added function_call_arguments.delta function_call_arguments.done output_item.done
		output_item.added custom_tool_call_input.delta custom_tool_call_input.done output_item.done
		completed`)
	for i, name := range names {
		names[i] = strings.TrimPrefix(name, "response.")
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %v", names)
	}
}

func TestErrorStatus(t *testing.T) {
	for format, path := range paths() {
		for _, stream := range []bool{false, true} {
			s := New(Options{})
			w := post(t, s, path, request(t, format, "Hi [[error: 429 retry-after=2 type=my_error too fast]]", stream))
			failed := at(t, decode(t, w.Body.Bytes()), "error").(map[string]any)
			if w.Code != 429 || w.Header().Get("Retry-After") != "2" {
				t.Errorf("%s: got %d %v", format, w.Code, w.Header())
			}
			if failed["type"] != "my_error" || failed["message"] != "too fast" {
				t.Errorf("%s: got %s", format, w.Body)
			}
			served := s.Served()[0]
			if served.Status != 429 || served.AnswerID != "" || served.Complete || served.Streamed != stream {
				t.Errorf("%s: served %+v", format, served)
			}
		}
	}
	for status, want := range map[string]string{
		"403": "permission_error", "400": "invalid_request_error", "500": "api_error", "529": "overloaded_error",
	} {
		w := post(t, New(Options{}), "/v1/messages", request(t, "messages", "[[error: "+status+"]]", false))
		if got := at(t, decode(t, w.Body.Bytes()), "error", "type"); got != want || w.Header().Get("Retry-After") != "" {
			t.Errorf("%s: type %v, header %v", status, got, w.Header())
		}
	}
	w := post(t, New(Options{}), "/v1/responses", request(t, "responses", "[[error: 503]]", false))
	if got := at(t, decode(t, w.Body.Bytes()), "error", "type"); got != "server_error" {
		t.Errorf("503: type %v", got)
	}
}

func TestErrorEvent(t *testing.T) {
	for format, path := range paths() {
		s := New(Options{})
		names, data := streamed(t, s, format, "[[error-event: overloaded_error after=3 too busy]]")
		if len(data) != 4 {
			t.Fatalf("%s: events %v", format, names)
		}
		failed := data[3]
		if format != "responses" {
			failed = failed["error"].(map[string]any)
		} else if failed["sequence_number"] != 3.0 || failed["code"] != "overloaded_error" {
			t.Errorf("responses: %v", failed)
		}
		if failed["message"] != "too busy" {
			t.Errorf("%s: %v", format, failed)
		}
		if served := s.Served()[0]; served.Failure != "overloaded_error" || served.Complete || served.Status != 200 {
			t.Errorf("%s: served %+v", format, served)
		}
		// The last event is never sent after an error, however late the error comes.
		late, _ := streamed(t, s, format, "[[error-event: overloaded_error after=99]]")
		if last := late[len(late)-2]; last == "message_stop" || last == "[DONE]" || last == "response.completed" {
			t.Errorf("%s: %v", format, late)
		}
		// Claude Code asks again without a stream, and must get its answer then.
		s = New(Options{})
		w := post(t, s, path, request(t, format, "[[error-event: overloaded_error]] [[no-done]]", false))
		if served := s.Served()[0]; w.Code != 200 || !served.Complete || served.Failure != "" {
			t.Errorf("%s, not streamed: %d %+v", format, w.Code, served)
		}
	}
}

func TestNoDone(t *testing.T) {
	for format, last := range map[string]string{
		"messages": "message_delta", "chat": "", "responses": "response.output_item.done",
	} {
		s := New(Options{})
		names, _ := streamed(t, s, format, "[[no-done]]")
		if got := names[len(names)-1]; got != last {
			t.Errorf("%s: the last event is %q", format, got)
		}
		if s.Served()[0].Complete {
			t.Errorf("%s: complete", format)
		}
	}
}

func TestCut(t *testing.T) {
	for format, path := range paths() {
		for directive, want := range map[string]int{
			"[[cut: after=3]]": 3, "[[cut: after=0]]": 0, "[[cut: after=99]]": -1, "[[cut]]": -1,
		} {
			for _, stream := range []bool{false, true} {
				s := New(Options{})
				body, err := send(t, s, path, request(t, format, directive, stream))
				if err == nil {
					t.Fatalf("%s %s: no error after %q", format, directive, body)
				}
				if got := strings.Count(body, "\n\n"); stream && want >= 0 && got != want || want < 0 && body == "" {
					t.Errorf("%s %s: %d events", format, directive, got)
				}
				if served := s.Served(); len(served) != 1 || served[0].Complete {
					t.Errorf("%s %s: served %+v", format, directive, served)
				}
			}
		}
	}
}

func TestHalfWay(t *testing.T) {
	all, _ := streamed(t, New(Options{}), "messages", "[[text: a b c d e]]")
	names, _ := streamed(t, New(Options{}), "messages", "[[text: a b c d e]] [[error-event: api_error]]")
	if want := append(slices.Clone(all[:len(all)/2]), "error"); !slices.Equal(names, want) {
		t.Errorf("got %v of %v", names, all)
	}
}

// send posts a body over a connection, and returns what came until the end or an error. It returns once the server is
// idle.
func send(t *testing.T, handler http.Handler, path, body string) (string, error) {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", "any")
	response, err := server.Client().Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	return string(read), err
}

// timed is a response writer that notes when, since its start, each event came.
type timed struct {
	http.ResponseWriter
	start time.Time
	at    []time.Duration
}

func (w *timed) Write(p []byte) (int, error) {
	w.at = append(w.at, time.Since(w.start))
	return len(p), nil
}

func (w *timed) Flush() {}

// playTimed serves one request in a synctest bubble, and returns the times of its writes.
func playTimed(ctx context.Context, t *testing.T, s *Server, format, prompt string, stream bool) []time.Duration {
	t.Helper()
	body := strings.NewReader(request(t, format, prompt, stream))
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, paths()[format], body)
	r.Header.Set("X-Api-Key", "any")
	w := &timed{ResponseWriter: httptest.NewRecorder(), start: time.Now()}
	s.ServeHTTP(w, r)
	return w.at
}

func TestPace(t *testing.T) {
	for format := range paths() {
		synctest.Test(t, func(t *testing.T) {
			const slow = "[[delay: 50ms]] [[silence: 2s after=2]] [[text: a b c d e]]"
			came := playTimed(t.Context(), t, New(Options{}), format, slow, true)
			for i, at := range came {
				want := time.Duration(i+1) * 50 * time.Millisecond
				if i >= 2 {
					want += 2 * time.Second
				}
				if at != want {
					t.Errorf("%s: event %d came at %v, want %v", format, i, at, want)
				}
			}
			if len(came) < 7 {
				t.Errorf("%s: %d events", format, len(came))
			}
			came = playTimed(t.Context(), t, New(Options{}), format, slow, false)
			if want := []time.Duration{2050 * time.Millisecond}; !slices.Equal(came, want) {
				t.Errorf("%s, not streamed: %v", format, came)
			}
		})
	}
}

func TestClientLeaves(t *testing.T) {
	for format := range paths() {
		for _, stream := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				s, start := New(Options{}), time.Now()
				playTimed(ctx, t, s, format, "[[silence: 1h]]", stream)
				if waited := time.Since(start); waited != time.Second {
					t.Errorf("%s: stopped after %v", format, waited)
				}
				if served := s.Served()[0]; served.Complete {
					t.Errorf("%s: served %+v", format, served)
				}
			})
		}
	}
}

// broken is a response writer whose client is gone.
type broken struct{ http.ResponseWriter }

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestClientGone(t *testing.T) {
	s := New(Options{})
	body := strings.NewReader(request(t, "messages", "hi", true))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/messages", body)
	r.Header.Set("X-Api-Key", "any")
	s.ServeHTTP(broken{httptest.NewRecorder()}, r)
	if served := s.Served()[0]; served.Complete {
		t.Errorf("served %+v", served)
	}
}
