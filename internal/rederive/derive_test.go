package rederive_test

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/rederive"
)

// exchange returns a whole exchange of plain bodies.
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

// TestUsage is about what an answer cost, worked out by hand.
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
			if len(usage.Metadata) != len(extras) {
				t.Errorf("got %v, want %v", usage.Metadata, extras)
			}
		})
	}
}

// TestClientLeft is about who ended an exchange.
func TestClientLeft(t *testing.T) {
	const end = `data: {"type":"response.completed","response":{"id":"r"}}`
	for response, want := range map[string]string{
		"":           "client_closed",
		end:          "client_closed", // The client cannot know that there is no more of it.
		end + "\n\n": "",
	} {
		e := exchange(rederive.FormatResponses, anyRequest, stream, response)
		e.Whole, e.ClientLeft = false, true
		if facts, err := rederive.Derive(e); err != nil || facts.ErrorType != want {
			t.Errorf("%q: %q, %v, want %q", response, facts.ErrorType, err, want)
		}
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

// TestDiff changes each field of some facts: the difference is told, by that field's name.
func TestDiff(t *testing.T) {
	facts := func() rederive.Facts {
		return rederive.Facts{
			Model: "a", Client: "a", ClientSessionID: "a", CorrelatingToolCallID: "a",
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
				check(name+"/"+v.Type().Field(i).Name, v.Field(i), changed)
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

	// What cannot be compared is no difference.
	changed.ErrorMessage = ""
	changed.TokenUsages[0].Metadata["unread"] = int64(1)
	if differences := facts().Diff(changed); len(differences) > 0 {
		t.Errorf("got %q", differences)
	}
}
