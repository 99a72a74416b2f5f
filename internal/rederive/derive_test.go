package rederive_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/rederive"
)

// exchange returns a whole exchange with bodies that are not coded.
func exchange(format, request, contentType, response string) rederive.Exchange {
	return rederive.Exchange{
		Format: format, RequestHeader: http.Header{}, Request: []byte(request),
		Status: http.StatusOK, ResponseHeader: http.Header{"Content-Type": {contentType}}, Response: []byte(response), Whole: true,
	}
}

const (
	anyRequest = `{"model":"m","messages":[]}`
	stream     = "text/event-stream"
)

// TestUsage compares usage with figures worked out by hand.
func TestUsage(t *testing.T) {
	for name, test := range map[string]struct {
		exchange                   rederive.Exchange
		input, output, read, write int64
		extras                     string
	}{
		"start and delta are not added": {
			exchange(rederive.FormatMessages, anyRequest, stream, `data: {"type":"message_start","message":{"usage":{"input_tokens":10,"output_tokens":3,`+
				`"cache_read_input_tokens":5,"cache_creation_input_tokens":2}}}`+"\n\n"+
				`data: {"type":"message_delta","usage":{"output_tokens":40,"input_tokens":null,"cache_read_input_tokens":6}}`+"\n\n"+
				`data: {"type":"message_stop"}`+"\n\n"),
			10, 40, 6, 2, "",
		},
		"input without cached tokens": {
			exchange(rederive.FormatChat, anyRequest, "application/json", `{"object":"chat.completion","choices":[{"message":{}}],"usage":{`+
				`"prompt_tokens":100,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":30,"cache_write_tokens":20}}}`),
			50, 0, 30, 20, "",
		},
		"more cached than there is": {
			exchange(rederive.FormatResponses, anyRequest, "application/json",
				`{"object":"response","usage":{"input_tokens":10,"output_tokens":1,"input_tokens_details":{"cached_tokens":11},"total_tokens":11}}`),
			0, 1, 11, 0, "inconsistent total_tokens",
		},
		"a part": {
			exchange(rederive.FormatMessages, anyRequest, stream, `data: {"type":"message_start","message":{"usage":{"input_tokens":10}}}`+"\n\n"),
			10, 0, 0, 0, "partial",
		},
		"an error in the place of the rest": {
			exchange(rederive.FormatMessages, anyRequest, stream, `data: {"type":"message_start","message":{"usage":{"input_tokens":10}}}`+"\n\n"+
				`data: {"type":"error","error":{"type":"overloaded_error"}}`+"\n\n"),
			10, 0, 0, 0, "partial",
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts, err := rederive.Derive(test.exchange)
			if err != nil || len(facts.TokenUsages) != 1 {
				t.Fatal(err, facts.TokenUsages)
			}
			usage := facts.TokenUsages[0]
			if usage.Input != test.input || usage.Output != test.output || usage.CacheRead != test.read || usage.CacheWrite != test.write {
				t.Errorf("got %+v", usage)
			}
			extras := strings.Fields(test.extras)
			for _, name := range extras {
				if usage.Metadata[name] == nil {
					t.Errorf("no %s in %v", name, usage.Metadata)
				}
			}
			if raw, _ := usage.Metadata["raw"].(string); !strings.HasPrefix(raw, "{") {
				t.Errorf("no raw usage in %v", usage.Metadata)
			}
			delete(usage.Metadata, "raw")
			if len(usage.Metadata) != len(extras) {
				t.Errorf("got %v, want %v", usage.Metadata, extras)
			}
		})
	}
}

// TestClientLeft checks how an exchange is recorded whose client left.
func TestClientLeft(t *testing.T) {
	const end = `data: {"type":"response.completed","response":{"id":"r"}}`
	for response, want := range map[string]string{
		"":           "client_closed",
		end:          "client_closed", // The client cannot know that nothing more comes.
		end + "\n\n": "",
	} {
		e := exchange(rederive.FormatResponses, anyRequest, stream, response)
		e.Whole, e.ClientLeft, e.Abandoned = false, true, true
		if facts, err := rederive.Derive(e); err != nil || facts.ErrorType != want {
			t.Errorf("%q: %q, %v, want %q", response, facts.ErrorType, err, want)
		}
	}
}

// TestFailures derives exchanges whose upstream did not answer, or whose answer was not passed on.
func TestFailures(t *testing.T) {
	const (
		json = "application/json"
		half = `{"object":"chat.completion","choices":[`
	)
	for name, test := range map[string]struct {
		change func(*rederive.Exchange)
		want   string
	}{
		"no answer":              {func(e *rederive.Exchange) { e.Status, e.Failure = 0, 502 }, "server_error"},
		"no answer in time":      {func(e *rederive.Exchange) { e.Status, e.Failure = 0, 504 }, "timeout"},
		"left before an answer":  {func(e *rederive.Exchange) { e.Status, e.Failure, e.ClientLeft = 0, 502, true }, "client_closed"},
		"broken body":            {func(e *rederive.Exchange) { e.Failure = 502 }, "truncated"},
		"silent body":            {func(e *rederive.Exchange) { e.Failure = 504 }, "timeout"},
		"left within a body":     {func(e *rederive.Exchange) { e.Failure, e.ClientLeft = 502, true }, "client_closed"},
		"given up within a body": {func(e *rederive.Exchange) { e.Abandoned = true }, "truncated"},
		"silent stream": {func(e *rederive.Exchange) {
			e.ResponseHeader.Set("Content-Type", stream)
			e.Response, e.Failure = []byte("data: "+half+"\n\n"), 504
		}, "truncated"},
		"redirect":                   {func(e *rederive.Exchange) { e.Status = 307 }, "server_error"},
		"no status":                  {func(e *rederive.Exchange) { e.Status = 999 }, "server_error"},
		"control characters":         {func(e *rederive.Exchange) { e.ResponseHeader["X"] = []string{"\t", "a\x1b[2J"} }, "server_error"},
		"too many header values":     {func(e *rederive.Exchange) { e.ResponseHeader["X"] = make([]string, 1000) }, "server_error"},
		"not quite too many of them": {func(e *rederive.Exchange) { e.ResponseHeader["X"] = make([]string, 999) }, "truncated"},
	} {
		t.Run(name, func(t *testing.T) {
			e := exchange(rederive.FormatChat, anyRequest, json, half)
			e.Whole = false
			test.change(&e)
			if facts, err := rederive.Derive(e); err != nil || facts.ErrorType != test.want || facts.Ended {
				t.Errorf("%q, %v, want %q", facts.ErrorType, err, test.want)
			}
		})
	}
}

// TestLargeAnswers derives answers that are too large to be read, and are relayed unread.
func TestLargeAnswers(t *testing.T) {
	const most = 64 << 20
	body := `{"object":"chat.completion","choices":[],"usage":{"prompt_tokens":1}}`
	chunk := `data: {"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":1}}` + "\n\ndata: [DONE]\n\n"
	for name, test := range map[string]struct {
		contentType, begin string
		size, usages       int
	}{
		"body":             {"application/json", body, most, 1},
		"too large a body": {"application/json", body, most + 1, 0},
		"stream":           {stream, chunk, most + 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := exchange(rederive.FormatChat, anyRequest, test.contentType, test.begin)
			e.Response = append(e.Response, bytes.Repeat([]byte(" "), test.size-len(e.Response))...)
			facts, err := rederive.Derive(e)
			if err != nil || len(facts.TokenUsages) != test.usages || facts.ErrorType != "" || facts.Ended != (test.contentType == stream) {
				t.Errorf("%+v, %v", facts, err)
			}
		})
	}
}

// TestCodingInSeveralLines lists content codings in several lines of a header.
func TestCodingInSeveralLines(t *testing.T) {
	e := exchange(rederive.FormatChat, anyRequest, stream, "")
	for _, header := range []http.Header{e.RequestHeader, e.ResponseHeader} {
		header["Content-Encoding"] = []string{"identity", "gzip"}
	}
	var coded bytes.Buffer
	w := gzip.NewWriter(&coded)
	_, _ = w.Write(e.Request)
	_ = w.Close()
	e.Request = coded.Bytes()
	if facts, err := rederive.Derive(e); err != nil || facts.Model != "m" {
		t.Errorf("%+v, %v", facts, err)
	}
}

func TestNoRequest(t *testing.T) {
	for _, request := range []string{
		"", "null", "[]", `{"model":"m"`, `{"model":"m"}x`, `{}`, `{"model":""}`, `{"model":1}`, `{"model":"m","model":"m"}`,
		`{"model":"m","\u004dodel":"m"}`,
	} {
		if _, err := rederive.Derive(exchange(rederive.FormatChat, request, stream, "")); !errors.Is(err, rederive.ErrNoRequest) {
			t.Errorf("%s: %v", request, err)
		}
	}
	e := exchange(rederive.FormatChat, anyRequest, stream, "")
	e.RequestHeader.Set("Content-Encoding", "gzip")
	if _, err := rederive.Derive(e); !errors.Is(err, rederive.ErrNoRequest) {
		t.Errorf("not in its coding: %v", err)
	}
	if _, err := rederive.Derive(exchange("telex", anyRequest, stream, "")); err == nil || errors.Is(err, rederive.ErrNoRequest) {
		t.Errorf("no such format: %v", err)
	}
}

// TestDiff changes each field of some facts: Diff must report the field by name.
func TestDiff(t *testing.T) {
	facts := func() rederive.Facts {
		return rederive.Facts{
			Model: "a", Client: "a", ClientSessionID: "a", UserAgent: "a", CorrelatingToolCallID: "a",
			Prompt:      &rederive.Prompt{Text: "a", Metadata: map[string]any{"m": true}},
			TokenUsages: []rederive.TokenUsage{{MessageID: "a", Metadata: map[string]any{"m": int64(1)}}},
			ToolUsages:  []rederive.ToolUsage{{MessageID: "a"}},
			Thoughts:    []rederive.Thought{{Content: "a"}},
			ErrorType:   "a", ErrorMessage: "a",
		}
	}
	if differences := facts().Diff(facts()); len(differences) > 0 {
		t.Fatalf("from itself: %q", differences)
	}
	var check func(name string, v reflect.Value, changed *rederive.Facts)
	check = func(name string, v reflect.Value, changed *rederive.Facts) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		switch v.Kind() {
		case reflect.String:
			v.SetString("b")
		case reflect.Int64:
			v.SetInt(7)
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Map:
			v.Set(reflect.ValueOf(map[string]any{"other": "b"}))
		case reflect.Pointer:
			check(name, v.Elem(), changed)
			v.SetZero()
		case reflect.Slice:
			check(name, v.Index(0), changed)
			v.SetZero()
		case reflect.Struct:
			for i := range v.NumField() {
				if tag := v.Type().Field(i).Tag.Get("json"); tag != "-" {
					check(name+"/"+tag, v.Field(i), changed)
				}
			}
			return
		}
		differences := facts().Diff(*changed)
		v.Set(old)
		if len(differences) == 0 {
			t.Errorf("%s: no difference", name)
		}
		for _, part := range strings.Split(name, "/")[1:] {
			if !strings.Contains(fmt.Sprint(differences), part) {
				t.Errorf("%s: %q", name, differences)
			}
		}
	}
	changed := facts()
	check("Facts", reflect.ValueOf(&changed).Elem(), &changed)

	// Values that cannot be compared are no difference.
	changed.ErrorMessage, changed.Ended, changed.Runs = "", true, true
	changed.TokenUsages[0].Metadata["unread"] = int64(1)
	if differences := facts().Diff(changed); len(differences) > 0 {
		t.Errorf("got %q", differences)
	}
}

// TestBackground is about answers that the upstream goes on with: what they do is recorded later, with other bytes.
func TestBackground(t *testing.T) {
	const (
		asked   = `{"model":"m","background":true,"stream":true}`
		created = "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"status\":\"in_progress\",\"background\":true}}\n\n"
		call    = "data: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"n\",\"arguments\":\"{}\"}}\n\n"
		done    = "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"usage\":{\"input_tokens\":1}}}\n\n"
		body    = `{"id":"r","object":"response","background":true,"status":"queued","output":[{"type":"function_call","call_id":"c","name":"n","arguments":"{}"}]}`
	)
	for name, test := range map[string]struct {
		request, contentType, response string
		calls                          int
	}{
		"asked for, cut":     {asked, stream, created + call, 0},
		"asked for, whole":   {asked, stream, created + call + done, 1},
		"not asked for, cut": {`{"model":"m","stream":true}`, stream, created + call, 0},
		"no background, cut": {`{"model":"m","stream":true}`, stream, call, 1},
		"queued":             {`{"model":"m"}`, "application/json", body, 0},
		"failed":             {asked, "application/json", strings.Replace(body, "queued", "failed", 1), 1},
	} {
		facts, err := rederive.Derive(exchange(rederive.FormatResponses, test.request, test.contentType, test.response))
		if err != nil || len(facts.ToolUsages) != test.calls {
			t.Errorf("%s: %d calls, want %d, %v", name, len(facts.ToolUsages), test.calls, err)
		}
	}
}
