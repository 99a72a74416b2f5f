package responses_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/responses"
)

func tooling() *wire.Tooling { return responses.Format().Tooling }

// isOurs reports whether a tool is one of the gateway's in these tests.
func isOurs(name string) bool { return strings.HasPrefix(name, "bmcp_") }

const (
	ourTool   = `{"type":"function","name":"bmcp_s_t","description":"","parameters":{"type":"object","properties":{}},"strict":false}`
	theirTool = `{"type":"function","name":"shell","parameters":{}}`
)

// answer is an answer of a provider's, as a script says it.
type answer struct {
	id       string
	previous string   // Its previous_response_id, JSON.
	store    string   // Its member store, JSON; empty: it has none.
	items    []string // As they are when they are done.
	status   string   // Empty: completed.
	usage    string
	// noOutput says that the event which ends the stream repeats no items, noDone that only that event has them.
	noOutput, noDone bool
}

func ourCall(n int) string {
	return fmt.Sprintf(`{"type":"function_call","id":"fc_%d","call_id":"our_%d","name":"bmcp_s_t","arguments":"{\"n\":%d}","status":"completed"}`, n, n, n)
}

func theirCall(n int) string {
	return fmt.Sprintf(`{"type":"function_call","id":"fc_c%d","call_id":"their0123456789_%d","name":"shell","arguments":"{\"n\":%d}","status":"completed"}`, n, n, n)
}

func reasoning(n int) string {
	return fmt.Sprintf(`{"type":"reasoning","id":"rs_%d","summary":[],"encrypted_content":"secret %d"}`, n, n)
}

func message(n int) string {
	return fmt.Sprintf(`{"type":"message","id":"msg_%d","role":"assistant","status":"completed","content":[{"type":"output_text","text":"text %d","annotations":[]}]}`, n, n)
}

func outputOf(callID string) string {
	return fmt.Sprintf(`{"type":"function_call_output","call_id":"%s","output":"result of %s"}`, callID, callID)
}

// object returns the answer's response object in that state, with that output.
func (a answer) object(status, output string) string {
	members := []string{
		fmt.Sprintf(`{"id":"%s","object":"response","created_at":17%s`, a.id, strings.Trim(a.id, "resp_")),
		fmt.Sprintf(`"status":"%s","model":"m","tools":[%s,%s]`, status, theirTool, ourTool),
		fmt.Sprintf(`"output":%s`, output),
	}
	if a.store != "" {
		members = append(members, `"store":`+a.store)
	}
	if a.previous != "" {
		members = append(members, `"previous_response_id":`+a.previous)
	}
	usage := "null"
	if status != "in_progress" && a.usage != "" {
		usage = a.usage
	}
	return strings.Join(append(members, `"usage":`+usage), ",") + "}"
}

func (a answer) end() string {
	if a.status != "" {
		return a.status
	}
	return "completed"
}

func (a answer) body() []byte { return []byte(a.object(a.end(), "["+strings.Join(a.items, ",")+"]")) }

// stream returns the answer as OpenAI streams it.
func (a answer) stream() []byte {
	var stream bytes.Buffer
	number := 0
	say := func(kind, format string, args ...any) {
		fmt.Fprintf(&stream, "event: response.%s\ndata: {\"type\":\"response.%s\",\"sequence_number\":%d,%s}\n\n", kind, kind, number, fmt.Sprintf(format, args...))
		number++
	}
	say("created", `"response":%s`, a.object("in_progress", "[]"))
	say("in_progress", `"response":%s`, a.object("in_progress", "[]"))
	for at, item := range a.items {
		if a.noDone {
			break
		}
		id := gjson.Get(item, "id").Str
		begun := item
		for _, name := range []string{"arguments", "content", "encrypted_content"} {
			if value := gjson.Get(item, name); value.Exists() {
				begun = strings.Replace(begun, value.Raw, map[bool]string{true: `""`, false: `[]`}[value.Type == gjson.String], 1)
			}
		}
		say("output_item.added", `"output_index":%d,"item":%s`, at, begun)
		switch gjson.Get(item, "type").Str {
		case "function_call":
			arguments := gjson.Get(item, "arguments").Raw
			say("function_call_arguments.delta", `"item_id":"%s","output_index":%d,"delta":%s`, id, at, arguments)
			say("function_call_arguments.done", `"item_id":"%s","output_index":%d,"arguments":%s`, id, at, arguments)
		case "message":
			text := gjson.Get(item, "content.0.text").Raw
			say("output_text.delta", `"item_id":"%s","output_index":%d,"content_index":0,"delta":%s`, id, at, text)
			say("output_text.done", `"item_id":"%s","output_index":%d,"content_index":0,"text":%s`, id, at, text)
		}
		say("output_item.done", `"output_index":%d,"item":%s`, at, item)
	}
	output := "[" + strings.Join(a.items, ",") + "]"
	if a.noOutput {
		output = "[]"
	}
	say(a.end(), `"response":%s`, a.object(a.end(), output))
	return stream.Bytes()
}

// played is what came of a script.
type played struct {
	client   []byte   // What the client got.
	requests []string // Those after the first.
	calls    []wire.ToolCall
	mixed    bool
	keep     wire.ToKeep   // By the ids of the answer and of the client's calls.
	keeps    []wire.ToKeep // All.
	joint    wire.Joint
}

func (p played) kept() map[string][]byte {
	kept := map[string][]byte{}
	for _, keep := range p.keeps {
		for _, key := range keep.Keys {
			kept[key] = keep.Turn
		}
	}
	return kept
}

func parseBody(t testing.TB, body string) jsonedit.Object {
	t.Helper()
	object, err := jsonedit.Parse([]byte(body))
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return object
}

func split(stream []byte) []sse.Event {
	var splitter sse.Splitter
	var events []sse.Event
	keep := func(event sse.Event) {
		event.Raw, event.Type, event.Data = bytes.Clone(event.Raw), bytes.Clone(event.Type), bytes.Clone(event.Data)
		events = append(events, event)
	}
	for event := range splitter.Feed(stream) {
		keep(event)
	}
	for event := range splitter.Flush() {
		keep(event)
	}
	return events
}

// play plays the answers as the relay would. All that is handed to the joint is overwritten after the call.
func play(t testing.TB, form wire.Form, request string, kept map[string][]byte, answers ...[]byte) played {
	t.Helper()
	body := parseBody(t, request)
	var p played
	p.joint = tooling().Join(wire.Joined{Body: body, Restored: tooling().Restore(body, kept), IsOurs: isOurs})
	for n, data := range answers {
		p.joint.Begin(form)
		events := []sse.Event{{Data: bytes.Clone(data)}}
		if form == wire.Stream {
			events = split(data)
		}
		for _, event := range events {
			p.client = p.joint.Pass(p.client, event)
			overwrite(event.Raw)
			overwrite(event.Type)
			overwrite(event.Data)
		}
		turn := p.joint.Turn()
		p.calls, p.mixed = append(p.calls, turn.Calls...), turn.Mixed
		var results []wire.Result
		for _, call := range turn.Calls {
			results = append(results, wire.Result{Parts: []wire.Part{{Text: "result of " + call.ID}}})
		}
		if turn.Mixed && len(results) > 0 {
			p.joint.Close(results)
		}
		if turn.Mixed || len(results) == 0 {
			if n < len(answers)-1 {
				t.Fatalf("the answer ends with round %d", n)
			}
			break
		}
		if form == wire.Stream {
			p.client = p.joint.Ping(p.client)
		}
		edits, err := p.joint.Continue(results)
		if err != nil {
			t.Fatal(err)
		}
		next, err := jsonedit.Splice(body.Bytes(), edits...)
		if err != nil {
			t.Fatal(err)
		}
		p.requests = append(p.requests, string(next))
		if !json.Valid(next) {
			t.Fatalf("no JSON: %s", next)
		}
	}
	p.keeps = p.joint.Kept()
	p.keep = p.keeps[0]
	p.client = p.joint.Finish(p.client)
	if bytes.Contains(p.client, []byte("bmcp_")) {
		t.Fatalf("the client sees a tool of the gateway: %s", p.client)
	}
	return p
}

func overwrite(b []byte) {
	for i := range b {
		b[i] = '#'
	}
}

// playBoth plays a script streamed and not streamed, checks that both are the same, and returns the streamed one.
func playBoth(t testing.TB, request string, kept map[string][]byte, answers ...answer) played {
	t.Helper()
	var streams, bodies [][]byte
	for _, a := range answers {
		streams, bodies = append(streams, a.stream()), append(bodies, a.body())
	}
	streamed := play(t, wire.Stream, request, kept, streams...)
	whole := play(t, wire.Body, request, kept, bodies...)
	sameJSON(t, string(whole.client), accumulate(t, streamed.client))
	if !slices.Equal(streamed.requests, whole.requests) {
		t.Errorf("streamed asks\n%q\nnot streamed\n%q", streamed.requests, whole.requests)
	}
	if !reflect.DeepEqual(streamed.calls, whole.calls) || streamed.mixed != whole.mixed || !reflect.DeepEqual(streamed.keeps, whole.keeps) {
		t.Errorf("streamed\n%v %v %s\nnot streamed\n%v %v %s", streamed.calls, streamed.mixed, streamed.keep.Turn, whole.calls, whole.mixed, whole.keep.Turn)
	}
	return streamed
}

func sameJSON(t testing.TB, got, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("%v: %s", err, want)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// accumulate reads a stream as a client does, and returns the response object that ends it. Its numbers must be contiguous,
// and the items that it announces must be those of the response object.
func accumulate(t testing.TB, stream []byte) string {
	t.Helper()
	number, end := int64(0), ""
	var items []string
	ids := map[string]int64{}
	for _, event := range split(stream) {
		if event.Data == nil {
			continue
		}
		if !json.Valid(event.Data) {
			t.Fatalf("no JSON: %s", event.Data)
		}
		data := gjson.ParseBytes(event.Data)
		if end != "" {
			t.Errorf("behind the end: %s", event.Data)
		}
		if string(event.Type) != data.Get("type").Str || data.Get("sequence_number").Int() != number {
			t.Errorf("event %d is %s", number, event.Raw)
		}
		number++
		at, id := data.Get("output_index").Int(), data.Get("item.id").Str
		switch kind := data.Get("type").Str; kind {
		case "response.output_item.added":
			if int(at) != len(items) {
				t.Errorf("item %s has place %d instead of %d", id, at, len(items))
			}
			items = append(items, "")
			ids[id] = at
		case "response.output_item.done":
			if ids[id] != at {
				t.Errorf("item %s is done at %d and began at %d", id, at, ids[id])
			}
			items[at] = data.Get("item").Raw
		case "response.completed", "response.incomplete", "response.failed":
			end = data.Get("response").Raw
		default:
			if id := data.Get("item_id").Str; id != "" && ids[id] != at {
				t.Errorf("%s is at %d: %s", id, ids[id], event.Data)
			}
		}
	}
	if end == "" {
		t.Fatalf("the stream has no end: %s", stream)
	}
	if output := gjson.Get(end, "output"); len(items) > 0 && len(output.Array()) > 0 {
		sameJSON(t, output.Raw, "["+strings.Join(items, ",")+"]")
	}
	return end
}
