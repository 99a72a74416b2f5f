package chat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/chat"
)

// seen is what a client has of an answer, streamed or not.
type seen struct {
	ID, Created, Finish string
	Content, Reasoning  string
	Calls               []seenCall
	Usage               string
	Usages, Dones       int `json:"-"`
	Roles               int `json:"-"`
	Error               string
	Chunks              int  `json:"-"`
	Damaged             bool // It is not JSON, or an index is out of order, or an id changed.
}

type seenCall struct{ ID, Name, Input string }

type wireChunk struct {
	ID      string
	Created json.RawMessage
	Choices []struct {
		Delta, Message wireMessage
		FinishReason   string `json:"finish_reason"`
	}
	Usage json.RawMessage
	Error json.RawMessage
}

type wireMessage struct {
	Role             string
	Content          any
	ReasoningContent string `json:"reasoning_content"`
	ToolCalls        []struct {
		Index    *int
		ID       string
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
}

// readStream reads a stream as clients do: calls by their index, and all chunks of one id.
func readStream(stream []byte) seen {
	var got seen
	for event := range split(stream) {
		switch {
		case event.Data == nil:
		case wire.IsDone(event):
			got.Dones++
		default:
			var c wireChunk
			got.Damaged = json.Unmarshal(event.Data, &c) != nil || got.Damaged || got.Dones > 0
			got.Damaged = got.Damaged || got.ID != "" && c.ID != "" && got.ID != c.ID
			got.read(c)
			got.Chunks++
		}
	}
	return got
}

func readBody(body []byte) seen {
	var got seen
	var c wireChunk
	got.Damaged = json.Unmarshal(body, &c) != nil
	got.read(c)
	return got
}

func (s *seen) read(c wireChunk) {
	if s.ID == "" {
		s.ID, s.Created = c.ID, string(c.Created)
	}
	if c.Usage != nil && string(c.Usage) != "null" {
		s.Usage = string(c.Usage)
		s.Usages++
	}
	s.Error += string(c.Error)
	for _, choice := range c.Choices {
		if choice.FinishReason != "" {
			s.Finish = choice.FinishReason
		}
		for _, m := range []wireMessage{choice.Delta, choice.Message} {
			if m.Role != "" {
				s.Roles++
			}
			if m.Content != nil {
				s.Content += fmt.Sprint(m.Content)
			}
			s.Reasoning += m.ReasoningContent
			for n, call := range m.ToolCalls {
				at := n
				if call.Index != nil {
					at = *call.Index
				}
				if at == len(s.Calls) {
					s.Calls = append(s.Calls, seenCall{})
				}
				if at > len(s.Calls) || at < 0 {
					s.Damaged = true
					continue
				}
				s.Calls[at].ID += call.ID
				s.Calls[at].Name += call.Function.Name
				s.Calls[at].Input += call.Function.Arguments
			}
		}
	}
}

// split yields the events of a stream.
func split(chunks ...[]byte) func(func(sse.Event) bool) {
	return func(yield func(sse.Event) bool) {
		var splitter sse.Splitter
		for _, chunk := range chunks {
			for event := range splitter.Feed(chunk) {
				if !yield(event) {
					return
				}
			}
		}
		for event := range splitter.Flush() {
			if !yield(event) {
				return
			}
		}
	}
}

// exchange runs the rounds of an answer as the relay does.
type exchange struct {
	t       testing.TB
	request string // Empty: one of a client that asks for usage.
	joint   wire.Joint
	client  []byte // What the client got.
	turns   []wire.Turn
	bodies  []string // The requests, the client's first.
	kept    wire.ToKeep
	results func(wire.ToolCall) wire.Result
	apart   bool // Streams come byte by byte.
}

const plainRequest = `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`

func isOurs(name string) bool { return name == "bmcp_a_x" || name == "bmcp_a_xy" }

func mayBeOurs(beginning string) bool { return strings.HasPrefix("bmcp_a_xy", beginning) }

func textResult(call wire.ToolCall) wire.Result {
	return wire.Result{Parts: []wire.Part{{Text: "did " + call.Name + call.Input}}}
}

func parse(t testing.TB, body string) jsonedit.Object {
	t.Helper()
	object, err := jsonedit.Parse([]byte(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return object
}

// run runs rounds with answers of that form until one wants nothing of the gateway.
func (x *exchange) run(form wire.Form, answers ...string) {
	x.t.Helper()
	format := chat.Format()
	if x.request == "" {
		x.request = plainRequest
	}
	if x.results == nil {
		x.results = textResult
	}
	body := parse(x.t, x.request)
	request, err := format.Inspect(body)
	if err != nil {
		x.t.Fatal(err)
	}
	x.joint = format.Tooling.Join(wire.Joined{Body: body, Request: &request, IsOurs: isOurs, MayBeOurs: mayBeOurs})
	x.bodies = []string{x.request}
	for n, answer := range answers {
		x.joint.Begin(form)
		events := split([]byte(answer))
		if x.apart {
			events = split(slices.Collect(slices.Chunk([]byte(answer), 1))...)
		}
		if form == wire.Body {
			events = slices.Values([]sse.Event{{Raw: []byte(answer), Data: []byte(answer)}})
		}
		for event := range events {
			x.client = x.joint.Pass(x.client, event)
		}
		turn := x.joint.Turn()
		x.turns = append(x.turns, turn)
		results := make([]wire.Result, len(turn.Calls))
		for i, call := range turn.Calls {
			results[i] = x.results(call)
		}
		if len(turn.Calls) > 0 && turn.Mixed {
			x.joint.Close(results)
		}
		if len(turn.Calls) == 0 || turn.Mixed {
			if n != len(answers)-1 {
				x.t.Fatalf("round %d of %d wants nothing: %+v", n, len(answers), turn)
			}
			break
		}
		edits, err := x.joint.Continue(results)
		if err != nil {
			x.t.Fatal(err)
		}
		next, err := jsonedit.Splice([]byte(x.request), edits...)
		if err != nil {
			x.t.Fatal(err)
		}
		x.bodies = append(x.bodies, string(next))
	}
	x.kept = wire.ToKeep{}
	for _, kept := range x.joint.Kept() {
		x.kept = kept
	}
	if end := x.joint.Finish(nil); form == wire.Body && len(end) == 0 {
		x.client = []byte(answers[len(answers)-1]) // It is as it came.
	} else {
		x.client = append(x.client, end...)
	}
}

// next returns what the last request has behind the client's messages.
func (x *exchange) next() string {
	before, _, _ := strings.Cut(x.request, `}]}`)
	return strings.TrimSuffix(strings.TrimPrefix(x.bodies[len(x.bodies)-1], before+`},`), `]}`)
}

// chunks writes a stream of chunks with these deltas. A delta that begins with a quote is a finish reason, and one that begins
// with a minus is a usage.
func chunks(id string, deltas ...string) string {
	var stream strings.Builder
	for _, delta := range deltas {
		switch {
		case strings.HasPrefix(delta, `"`):
			fmt.Fprintf(&stream, `data: {"id":%q,"created":%d,"choices":[{"index":0,"delta":{},"finish_reason":%s}],"usage":null}`, id, len(id), delta)
		case strings.HasPrefix(delta, `-`):
			fmt.Fprintf(&stream, `data: {"id":%q,"created":%d,"choices":[],"usage":%s}`, id, len(id), delta[1:])
		default:
			fmt.Fprintf(&stream, `data: {"id":%q,"created":%d,"choices":[{"index":0,"delta":%s,"finish_reason":null}],"usage":null}`, id, len(id), delta)
		}
		stream.WriteString("\n\n")
	}
	return stream.String() + "data: [DONE]\n\n"
}

// answered fails the test if a request is malformed.
func answered(t testing.TB, body []byte) {
	t.Helper()
	if err := malformed(body); err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
}

// malformed returns an error unless each call of a message has one result, and the results follow it.
func malformed(body []byte) error {
	var request struct {
		Messages []struct {
			Role       string
			ToolCalls  []struct{ ID string } `json:"tool_calls"`
			ToolCallID string                `json:"tool_call_id"`
		}
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return err
	}
	open := map[string]int{}
	for _, message := range request.Messages {
		if message.Role == "tool" {
			if open[message.ToolCallID]--; open[message.ToolCallID] < 0 {
				return fmt.Errorf("%q is no call before its result", message.ToolCallID)
			}
			continue
		}
		for id, n := range open {
			if n > 0 {
				return fmt.Errorf("%q has no result", id)
			}
		}
		clear(open)
		for _, call := range message.ToolCalls {
			open[call.ID]++
		}
	}
	return nil
}

func sameSeen(t testing.TB, got, want seen) {
	t.Helper()
	text := func(s seen) string {
		encoded, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(encoded)
	}
	same(t, "what the client has", text(got), text(want))
}

func same(t testing.TB, name, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}
