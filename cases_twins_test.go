package aibridged_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/testkit"
)

// TestTwinsAgree compares each case of tools with a stream to its twin without: what a client gathers of the stream's events
// must be the other's body. What cases say that clients receive is what these get: [TestCases] holds that.
func TestTwinsAgree(t *testing.T) {
	streams, err := filepath.Glob("testdata/cases/tools/*-stream.txtar")
	if err != nil {
		t.Fatal(err)
	}
	pairs := 0
	for _, file := range streams {
		stream := testkit.LoadCase(t, file)
		twins, err := filepath.Glob(strings.TrimSuffix(file, "-stream.txtar") + "-blocking.txtar")
		if err != nil {
			t.Fatal(err)
		}
		if len(twins) == 0 {
			continue
		}
		pairs++
		t.Run(strings.TrimSuffix(filepath.Base(file), "-stream.txtar"), func(t *testing.T) {
			blocking := testkit.LoadCase(t, twins[0])
			gathered, bodies := answersOf(stream), answersOf(blocking)
			if len(gathered) != len(bodies) {
				t.Fatalf("%d answers, and its twin has %d", len(gathered), len(bodies))
			}
			for n, answer := range gathered {
				if bodies[n].Status() != 200 {
					continue // The stream has no other way than to end with an event.
				}
				got, want := gatherStream(t, answer), decoded(t, bodies[n].Body)
				if got, want := plain(got), plain(want); !reflect.DeepEqual(got, want) {
					t.Errorf("answer %d: of the stream there is\n%s\nits twin is\n%s", n+1, asJSON(t, got), asJSON(t, want))
				}
			}
		})
	}
	if pairs == 0 {
		t.Error("no pairs")
	}
}

// answersOf returns what the client of a case gets.
func answersOf(c *testkit.Case) []*testkit.Message {
	all := []*testkit.Message{c.Received}
	switch {
	case c.Received != nil:
	case len(c.Later) > 0 && len(c.Next) == 0:
		all[0] = c.Later[len(c.Later)-1].Upstream
	default:
		all[0] = c.Upstream
	}
	for _, next := range c.Next {
		if next.Received != nil {
			all = append(all, next.Received)
		}
	}
	return all
}

type object = map[string]any

func decoded(t *testing.T, data []byte) object {
	t.Helper()
	var value object
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return value
}

func asJSON(t *testing.T, value any) []byte {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// plain returns an answer without what only one of the two forms has.
func plain(answer object) object {
	switch answer["object"] {
	case "chat.completion", "chat.completion.chunk":
		delete(answer, "object")
	}
	return answer
}

// gatherStream makes of a stream the body that its client would have got otherwise, as SDKs do: by the events and their numbers
// alone. It fails the test where these are not contiguous.
func gatherStream(t *testing.T, stream *testkit.Message) object {
	t.Helper()
	var g gathering
	for _, event := range stream.Events() {
		for line := range bytes.Lines(event) {
			if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok && !bytes.HasPrefix(data, []byte("[DONE]")) {
				g.add(t, decoded(t, data))
			}
		}
	}
	return g.answer
}

// gathering is what has been gathered of a stream so far. Only one of the three formats uses it.
type gathering struct {
	answer object
	blocks []any    // Of Messages, or the output items of Responses.
	inputs []string // Of the blocks of Messages: the JSON of calls.
	number float64  // Of the next event of Responses.
	ended  bool
}

func (g *gathering) add(t *testing.T, event object) {
	t.Helper()
	kind, _ := event["type"].(string)
	switch {
	case g.ended:
		t.Errorf("%s follows the end", kind)
	case strings.HasPrefix(kind, "response."):
		g.addResponse(t, kind, event)
	case kind != "":
		g.addMessage(t, kind, event)
	case event["choices"] != nil:
		g.addChunk(t, event)
	}
}

func (g *gathering) addMessage(t *testing.T, kind string, event object) {
	t.Helper()
	index := -1
	if number, ok := event["index"].(float64); ok {
		index = int(number)
	}
	switch kind {
	case "message_start":
		if g.answer != nil {
			t.Error("a second message_start")
		}
		g.answer = event["message"].(object)
	case "content_block_start":
		if index != len(g.blocks) {
			t.Errorf("block %d begins, want %d", index, len(g.blocks))
		}
		g.blocks, g.inputs = append(g.blocks, event["content_block"]), append(g.inputs, "")
	case "content_block_delta":
		block := g.blocks[index].(object)
		for name, value := range event["delta"].(object) {
			switch {
			case name == "partial_json":
				g.inputs[index] += value.(string)
			case name == "citation":
				block["citations"] = append(block["citations"].([]any), value)
			case name != "type":
				had, _ := block[name].(string)
				block[name] = had + value.(string)
			}
		}
	case "content_block_stop":
		if g.inputs[index] != "" {
			g.blocks[index].(object)["input"] = decoded(t, []byte(g.inputs[index]))
		}
	case "message_delta":
		for name, value := range event["delta"].(object) {
			g.answer[name] = value
		}
		for name, value := range event["usage"].(object) {
			g.answer["usage"].(object)[name] = value // They are cumulative.
		}
	case "message_stop":
		g.answer["content"], g.ended = g.blocks, true
		if g.blocks == nil {
			g.answer["content"] = []any{}
		}
	}
}

func (g *gathering) addResponse(t *testing.T, kind string, event object) {
	t.Helper()
	if event["sequence_number"] != g.number {
		t.Errorf("%s has number %v, want %v", kind, event["sequence_number"], g.number)
	}
	g.number++
	switch kind {
	case "response.created":
		g.answer = event["response"].(object)
	case "response.output_item.added":
		if event["output_index"] != float64(len(g.blocks)) {
			t.Errorf("item %v begins, want %d", event["output_index"], len(g.blocks))
		}
		g.blocks = append(g.blocks, nil)
	case "response.output_item.done":
		g.blocks[int(event["output_index"].(float64))] = event["item"]
	case "response.completed", "response.incomplete", "response.failed":
		end := event["response"].(object)
		for _, name := range []string{"id", "created_at"} {
			if end[name] != g.answer[name] {
				t.Errorf("%s is %v at the beginning and %v at the end", name, g.answer[name], end[name])
			}
		}
		output, _ := end["output"].([]any)
		if len(output)+len(g.blocks) > 0 && !reflect.DeepEqual(g.blocks, output) {
			t.Errorf("the items that came are\n%s\nat the end there are\n%s", asJSON(t, g.blocks), asJSON(t, output))
		}
		g.answer, g.ended = end, true
	}
}

func (g *gathering) addChunk(t *testing.T, chunk object) {
	t.Helper()
	if g.answer == nil {
		g.answer = object{"choices": []any{object{"index": 0.0, "message": object{"content": nil}, "finish_reason": nil}}}
	}
	for name, value := range chunk {
		if had, ok := g.answer[name]; ok && name != "usage" && name != "choices" && had != value {
			t.Errorf("%s is %v and then %v", name, had, value)
		}
		if name != "choices" {
			g.answer[name] = value
		}
	}
	for _, value := range chunk["choices"].([]any) {
		choice := value.(object)
		whole := g.answer["choices"].([]any)[0].(object)
		if whole["finish_reason"] != nil {
			t.Error("a choice goes on after its end")
		}
		whole["finish_reason"] = choice["finish_reason"]
		message := whole["message"].(object)
		for name, value := range choice["delta"].(object) {
			switch text, isText := value.(string); {
			case name == "tool_calls":
				g.addCalls(t, message, value.([]any))
			case name == "role":
				if message[name] != nil {
					t.Error("the role is told twice")
				}
				message[name] = text
			case isText && text != "":
				had, _ := message[name].(string)
				message[name] = had + text
			}
		}
	}
}

func (g *gathering) addCalls(t *testing.T, message object, pieces []any) {
	t.Helper()
	calls, _ := message["tool_calls"].([]any)
	for _, value := range pieces {
		piece := value.(object)
		index := int(piece["index"].(float64))
		if index == len(calls) {
			calls = append(calls, object{})
		}
		if index >= len(calls) {
			t.Fatalf("call %d begins, want %d", index, len(calls))
		}
		call := calls[index].(object)
		for name, value := range piece {
			function, isFunction := value.(object)
			switch {
			case name == "index":
			case !isFunction:
				call[name] = value
			case call[name] == nil:
				call[name] = function
			default:
				had := call[name].(object)
				for name, value := range function {
					before, _ := had[name].(string)
					had[name] = before + value.(string)
				}
			}
		}
	}
	message["tool_calls"] = calls
}
