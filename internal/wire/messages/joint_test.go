package messages_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/messages"
)

func isOurs(name string) bool { return strings.HasPrefix(name, "bmcp_") }

// request is a client's request whose model may call tools of the gateway.
const request = `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"tools":[{"name":"theirs"}],"stream":true}`

func parse(t testing.TB, body string) jsonedit.Object {
	t.Helper()
	object, err := jsonedit.Parse([]byte(body))
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return object
}

func joint(t testing.TB, body string) wire.Joint {
	t.Helper()
	format := messages.Format()
	inspected, err := format.Inspect(parse(t, body))
	if err != nil {
		t.Fatal(err)
	}
	return format.Tooling.Join(wire.Joined{Body: parse(t, body), Request: &inspected, IsOurs: isOurs})
}

// eventOf returns the event of an answer that is no stream.
func eventOf(body string) sse.Event { return sse.Event{Raw: []byte(body), Data: []byte(body)} }

// pass passes a stream through a joint, in chunks, and returns what the client gets of it.
func pass(joint wire.Joint, stream string, chunk int) string {
	joint.Begin(wire.Stream)
	var ready []byte
	var splitter sse.Splitter
	for len(stream) > 0 {
		n := min(chunk, len(stream))
		for event := range splitter.Feed([]byte(stream[:n])) {
			ready = joint.Pass(ready, event)
		}
		stream = stream[n:]
	}
	for event := range splitter.Flush() {
		ready = joint.Pass(ready, event)
	}
	return string(ready)
}

// event writes events in Anthropic's own form.
func events(data ...string) string {
	var stream strings.Builder
	for _, text := range data {
		fmt.Fprintf(&stream, "event: %s\ndata: %s\n\n", gjson.Get(text, "type").Str, text)
	}
	return stream.String()
}

func start(id string, input int) string {
	return fmt.Sprintf(`{"type":"message_start","message":{"id":%q,"type":"message","role":"assistant","content":[],"usage":{"input_tokens":%d,"output_tokens":1}}}`, id, input)
}

func text(index int, text string) []string {
	return []string{
		fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":{"type":"text","text":""}}`, index),
		fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":%q}}`, index, text),
		fmt.Sprintf(`{"type":"content_block_stop","index":%d}`, index),
	}
}

func call(index int, id, name string, input ...string) []string {
	all := []string{fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":{"type":"tool_use","id":%q,"name":%q,"input":{}}}`, index, id, name)}
	for _, piece := range input {
		quoted, _ := json.Marshal(piece)
		all = append(all, fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":{"type":"input_json_delta","partial_json":%s}}`, index, quoted))
	}
	return append(all, fmt.Sprintf(`{"type":"content_block_stop","index":%d}`, index))
}

func end(reason string, output int) []string {
	return []string{
		fmt.Sprintf(`{"type":"message_delta","delta":{"stop_reason":%q,"stop_sequence":null},"usage":{"output_tokens":%d}}`, reason, output),
		`{"type":"message_stop"}`,
	}
}

func stream(parts ...any) string {
	var all []string
	for _, part := range parts {
		switch part := part.(type) {
		case string:
			all = append(all, part)
		case []string:
			all = append(all, part...)
		}
	}
	return events(all...)
}

func said(text string) []wire.Result { return []wire.Result{{Parts: []wire.Part{{Text: text}}}} }

// next returns the request of the next round.
func next(t *testing.T, joint wire.Joint, body string, results []wire.Result) string {
	t.Helper()
	edits, err := joint.Continue(results)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := jsonedit.Splice([]byte(body), edits...)
	if err != nil || !json.Valid(sent) {
		t.Fatalf("%v: %s", err, sent)
	}
	return string(sent)
}

// thinking is a block with a signature, in pieces as the API sends it.
var thinking = []string{
	`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let \u00e9"}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"\ud83d"}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"\ude00"}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}`,
	`{"type":"content_block_stop","index":0}`,
}

// TestRounds has two rounds. The client gets one answer, whose indexes are contiguous, and the model its own turn as it was.
func TestRounds(t *testing.T) {
	for _, chunk := range []int{1, 7, 1 << 20} {
		j := joint(t, request)
		got := pass(j, stream(start("msg_1", 10), thinking, text(1, "Looking. "), call(2, "toolu_1", "bmcp_docs_search", `{"q":"`, `x"}`), end("tool_use", 20)), chunk)
		if want := stream(start("msg_1", 10), thinking, text(1, "Looking. ")); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
		turn := j.Turn()
		if turn.Mixed || len(turn.Calls) != 1 || turn.Calls[0].ID != "toolu_1" || turn.Calls[0].Input != `{"q":"x"}` {
			t.Fatalf("turn %+v", turn)
		}
		sent := next(t, j, request, said("found"))
		want := strings.Replace(request, `"hi"}]`, `"hi"},{"role":"assistant","content":[`+
			`{"type":"thinking","thinking":"Let \u00e9\ud83d\ude00","signature":"c2ln"},{"type":"text","text":"Looking. "},`+
			`{"type":"tool_use","id":"toolu_1","name":"bmcp_docs_search","input":{"q":"x"}}]},`+
			`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"found"}]}]}]`, 1)
		if sent != want {
			t.Fatalf("sent\n%s\nwant\n%s", sent, want)
		}
		got = pass(j, stream(start("msg_2", 100), text(0, "Done."), end("end_turn", 5)), chunk) + string(j.Finish(nil))
		want = stream(text(2, "Done."), `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":110,"output_tokens":25}}`, `{"type":"message_stop"}`)
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if len(j.Turn().Calls) != 0 || len(j.Kept()) != 1 {
			t.Errorf("turn %+v, kept %+v", j.Turn(), j.Kept())
		}
	}
}

// TestTurns has turns of every kind: what of them is run.
func TestTurns(t *testing.T) {
	ours, theirs := call(0, "a", "bmcp_x_y", "{}"), call(1, "b", "theirs", "{}")
	for name, test := range map[string]struct {
		parts []any
		calls int
		mixed bool
	}{
		"none":           {[]any{text(0, "x"), end("end_turn", 1)}, 0, false},
		"theirs":         {[]any{theirs, end("tool_use", 1)}, 0, false},
		"ours":           {[]any{ours, end("tool_use", 1)}, 1, false},
		"both":           {[]any{ours, theirs, end("tool_use", 1)}, 1, true},
		"another reason": {[]any{ours, end("end_turn", 1)}, 1, false},
		"cut":            {[]any{ours, end("max_tokens", 1)}, 0, false},
		"refused":        {[]any{ours, end("refusal", 1)}, 0, false},
		"paused":         {[]any{ours, end("pause_turn", 1)}, 0, false},
		"twice the same": {[]any{ours, call(1, "c", "bmcp_x_y", "{}"), end("tool_use", 1)}, 2, false},
		"not ended":      {[]any{ours[:2], end("tool_use", 1)}, 0, false},
		"a server's":     {[]any{ours, strings.ReplaceAll(theirs[0], "tool_use", "server_tool_use"), theirs[2], end("tool_use", 1)}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			j := joint(t, request)
			got := pass(j, stream(append([]any{start("m", 1)}, test.parts...)...), 100)
			turn := j.Turn()
			if len(turn.Calls) != test.calls || len(turn.Calls) > 0 && turn.Mixed != test.mixed {
				t.Errorf("turn %+v", turn)
			}
			if all := got + string(j.Finish(nil)); strings.Contains(all, "bmcp_") || !strings.Contains(all, "message_stop") {
				t.Errorf("the client gets %s", all)
			}
		})
	}
}

// TestInputs has inputs of calls as models write them.
func TestInputs(t *testing.T) {
	for input, want := range map[string]string{
		``:                 `{}`,
		`{"a": 1.0}`:       `{"a": 1.0}`,
		`{"a":"\u00e9\n"}`: `{"a":"\u00e9\n"}`,
		`{"a":`:            `{"INVALID_JSON":"{\"a\":"}`,
		`[1]`:              `{"INVALID_JSON":"[1]"}`,
		`{"a":1}{"a":2}`:   `{"INVALID_JSON":"{\"a\":1}{\"a\":2}"}`,
		`{"big":1234567890123456789012345678901234567890}`: `{"big":1234567890123456789012345678901234567890}`,
	} {
		j := joint(t, request)
		pass(j, stream(start("m", 1), call(0, "a", "bmcp_x_y", input), end("tool_use", 1)), 100)
		if turn := j.Turn(); len(turn.Calls) != 1 || turn.Calls[0].Input != input && input != "" {
			t.Errorf("%s: turn %+v", input, turn)
		}
		sent := next(t, j, request, said("x"))
		if got := gjson.Get(sent, "messages.1.content.0.input").Raw; got != want {
			t.Errorf("%s: sent %s, want %s", input, got, want)
		}
	}
}

// TestResults has results of every kind as the model gets them.
func TestResults(t *testing.T) {
	for name, test := range map[string]struct {
		result wire.Result
		want   string
	}{
		"text":        {said("a")[0], `{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"a"}]}`},
		"none":        {wire.Result{}, `{"type":"tool_result","tool_use_id":"a"}`},
		"blank":       {said(" \n")[0], `{"type":"tool_result","tool_use_id":"a"}`},
		"an error":    {wire.Result{IsError: true, Parts: said("no")[0].Parts}, `{"type":"tool_result","tool_use_id":"a","is_error":true,"content":[{"type":"text","text":"no"}]}`},
		"only errors": {wire.Result{IsError: true}, `{"type":"tool_result","tool_use_id":"a","is_error":true,"content":[{"type":"text","text":"The tool failed and gave no reason."}]}`},
		"an error with an image": {
			wire.Result{IsError: true, Parts: []wire.Part{{Text: "a"}, {MediaType: "image/png", Data: []byte("x")}}},
			`{"type":"tool_result","tool_use_id":"a","is_error":true,"content":[{"type":"text","text":"a"},{"type":"text","text":"[An image is left out here: the result of a call that failed has text alone.]"}]}`,
		},
		"an image": {
			wire.Result{Parts: []wire.Part{{Text: "a"}, {MediaType: "image/png", Data: []byte("x")}}},
			`{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"eA=="}}]}`,
		},
	} {
		j := joint(t, request)
		pass(j, stream(start("m", 1), call(0, "a", "bmcp_x_y"), end("tool_use", 1)), 100)
		sent := next(t, j, request, []wire.Result{test.result})
		if got := gjson.Get(sent, "messages.2.content.0").Raw; got != test.want {
			t.Errorf("%s: sent %s, want %s", name, got, test.want)
		}
	}
}

// TestBodies has the same two rounds as bodies: the client's is the twin of the stream.
func TestBodies(t *testing.T) {
	j := joint(t, request)
	first := `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Looking. "},{"type":"tool_use","id":"a","name":"bmcp_x_y","input":{ "q" : 1 }}],"stop_reason":"tool_use","usage":{"input_tokens":10,"output_tokens":20}}`
	last := `{"id":"msg_2","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Done."}],"stop_reason":"end_turn","usage":{"input_tokens":100,"output_tokens":5}}`
	j.Begin(wire.Body)
	if got := j.Pass(nil, sse.Event{Data: []byte(first)}); len(got) != 0 || len(j.Turn().Calls) != 1 {
		t.Fatalf("got %s, turn %+v", got, j.Turn())
	}
	sent := next(t, j, request, said("found"))
	if got := gjson.Get(sent, "messages.1.content.1.input").Raw; got != `{ "q" : 1 }` {
		t.Errorf("sent %s", got)
	}
	j.Begin(wire.Body)
	j.Pass(nil, sse.Event{Data: []byte(last)})
	want := `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Looking. "},{"type":"text","text":"Done."}],"stop_reason":"end_turn","usage":{"input_tokens":110,"output_tokens":25}}`
	if got := string(j.Finish(nil)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// restored is what a client sends after an answer of two rounds, of which the second had calls of both, and what goes
// upstream.
func TestRestore(t *testing.T) {
	j := joint(t, request)
	pass(j, stream(start("msg_1", 10), thinking, call(1, "a1", "bmcp_x_y", `{}`), end("tool_use", 20)), 100)
	j.Turn()
	next(t, j, request, said("one"))
	pass(j, stream(start("msg_2", 10), text(0, "\n"), text(1, "Both."), call(2, "a2", "bmcp_x_y", `{"n":2}`), call(3, "toolu_b", "theirs", `{"x":1}`), end("tool_use", 20)), 100)
	if !j.Turn().Mixed {
		t.Fatal("not mixed")
	}
	j.Close(said("two"))
	all := j.Kept()
	if len(all) != 1 {
		t.Fatalf("kept %+v", all)
	}
	kept := all[0]
	if len(kept.Keys) != 4 || !strings.HasPrefix(kept.Keys[0], "messages:toolu_b") || !strings.HasPrefix(kept.Keys[1], "messages:toolu_b") ||
		!strings.HasPrefix(kept.Keys[2], "messages:thought:") || !strings.HasPrefix(kept.Keys[3], "messages:thought:") {
		t.Fatalf("kept %+v", kept)
	}
	found := map[string][]byte{kept.Keys[0]: kept.Turn, kept.Keys[1]: kept.Turn}
	const (
		first  = `{"type":"thinking","thinking":"Let \u00e9\ud83d\ude00","signature":"c2ln"}`
		ours1  = `{"type":"tool_use","id":"a1","name":"bmcp_x_y","input":{}}`
		res1   = `{"type":"tool_result","tool_use_id":"a1","content":[{"type":"text","text":"one"}]}`
		both   = `{"type":"text","text":"Both."}`
		ours2  = `{"type":"tool_use","id":"a2","name":"bmcp_x_y","input":{"n":2}}`
		res2   = `{"type":"tool_result","tool_use_id":"a2","content":[{"type":"text","text":"two"}]}`
		theirs = `{"type":"tool_use","id":"toolu_b","name":"theirs","input":{"x": 1.0},"cache_control":{"type":"ephemeral"}}`
		res    = `{"type":"tool_result","tool_use_id":"toolu_b","content":"x"}`
		user   = `{"role":"user","content":"hi"}`
	)
	for name, test := range map[string]struct{ sent, want string }{
		"as it was": {
			`{"role":"assistant","content":[` + first + `,` + both + `,` + theirs + `]},{"role":"user","content":[` + res + `]}`,
			`{"role":"assistant","content":[` + first + `,` + ours1 + `]},{"role":"user","content":[` + res1 + `]},{"role":"assistant","content":[` + both + `,` + ours2 + `,` + theirs + `]},{"role":"user","content":[` + res2 + `,` + res + `]}`,
		},
		"role behind the content": {
			`{"content":[` + first + `,` + both + `,` + theirs + `],"role":"assistant"},{"role":"user","content":[` + res + `]}`,
			`{"content":[` + first + `,` + ours1 + `],"role":"assistant"},{"role":"user","content":[` + res1 + `]},{"content":[` + both + `,` + ours2 + `,` + theirs + `],"role":"assistant"},{"role":"user","content":[` + res2 + `,` + res + `]}`,
		},
		"blank texts are back": {
			`{"role":"assistant","content":[` + first + `,{"type":"text","text":"\n"},` + both + `,` + theirs + `]},{"role":"user","content":[` + res + `,{"type":"text","text":"more"}]}`,
			`{"role":"assistant","content":[` + first + `,` + ours1 + `]},{"role":"user","content":[` + res1 + `]},{"role":"assistant","content":[{"type":"text","text":"\n"},` + both + `,` + ours2 + `,` + theirs + `]},{"role":"user","content":[` + res2 + `,` + res + `,{"type":"text","text":"more"}]}`,
		},
		"without its thoughts": {
			`{"role":"assistant","content":[` + both + `,` + theirs + `]},{"role":"user","content":[` + res + `]}`,
			`{"role":"assistant","content":[` + ours1 + `]},{"role":"user","content":[` + res1 + `]},{"role":"assistant","content":[` + both + `,` + ours2 + `,` + theirs + `]},{"role":"user","content":[` + res2 + `,` + res + `]}`,
		},
		"another call with that id": {
			`{"role":"assistant","content":[` + strings.Replace(theirs, "1.0", "7", 1) + `]},{"role":"user","content":[` + res + `]}`, "",
		},
		"not answered": {`{"role":"assistant","content":[` + first + `,` + both + `,` + theirs + `]},{"role":"user","content":"never mind"}`, ""},
		"at the end":   {`{"role":"assistant","content":[` + first + `,` + both + `,` + theirs + `]}`, ""},
		"compacted":    {`{"role":"user","content":"summary"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if test.want == "" {
				test.want = test.sent
			}
			body := `{"model":"m","messages":[` + user + `,` + test.sent + `]}`
			object := parse(t, body)
			keys := messages.Format().Tooling.Keys(object, 0)
			if strings.Contains(body, `"tool_use"`) && !slices.Contains(keys, kept.Keys[1]) {
				t.Errorf("keys %v", keys)
			}
			got, err := jsonedit.Splice([]byte(body), messages.Format().Tooling.Restore(object, found)...)
			if want := `{"model":"m","messages":[` + user + `,` + test.want + `]}`; err != nil || string(got) != want {
				t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}

func TestFree(t *testing.T) {
	for members, want := range map[string]bool{
		``: true, `"tool_choice":{"type":"auto"},`: true, `"tool_choice":null,`: true, `"tools":[],`: true, `"tools":null,`: true,
		`"tool_choice":{"type":"auto","disable_parallel_tool_use":true},`: true,
		`"tool_choice":{"type":"any"},`:                                   false, `"tool_choice":{"type":"none"},`: false,
		`"tool_choice":{"type":"tool","name":"theirs"},`: false, `"tool_choice":"auto",`: false, `"tools":{},`: false,
		`"max_tokens":1,`: false, `"max_tokens":1,"tools":[{"name":"a"}],`: true, `"max_tokens":2,`: true,
		`"output_format":{"type":"json_schema"},`: false, `"output_config":{"format":{"type":"json_schema"}},`: false,
		`"output_config":{"effort":"low"},`: true, `"output_format":{"type":"json_schema"},"tools":[{"name":"a"}],`: true,
		`"thread":"t",`: false,
	} {
		if got := messages.Format().Tooling.Free(parse(t, `{`+members+`"messages":[{"role":"user","content":"x"}]}`)); got != want {
			t.Errorf("%s: free %t", members, got)
		}
	}
}

func TestWrite(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"object","$defs":{"a":{"anyOf":[{}]}},"additionalProperties":false,"properties":{}}`: `{"type":"object","$defs":{"a":{"anyOf":[{}]}},"additionalProperties":false,"properties":{}}`,
		`{"type":"object", "oneOf":[{"required":["a"]}], "x":1e400,"properties":{}}`:                  `{"type":"object", "x":1e400,"properties":{}}`,
	} {
		got := string(messages.Format().Tooling.Write(wire.Tool{Name: "n", Description: "d", Schema: []byte(schema)}))
		if got != `{"name":"n","description":"d","input_schema":`+want+`}` {
			t.Errorf("got %s", got)
		}
	}
}

// FuzzJoint passes any stream: without a call of the gateway's, a first round stays as it is; no call of the gateway's reaches
// the client; and the chunks do not matter.
func FuzzJoint(f *testing.F) {
	f.Add(stream(start("m", 1), thinking, text(1, "x"), call(2, "a", "bmcp_x_y", `{"a":1}`), end("tool_use", 2)), 3)
	f.Add(stream(start("m", 1), text(0, "x"), call(1, "a", "theirs", `{"a":1}`), end("tool_use", 2)), 100)
	f.Add("data: {\"type\":\"content_block_delta\",\"index\":7}\r\n\r\n: x\n\n", 1)
	f.Fuzz(func(t *testing.T, text string, chunk int) {
		if len(text) > 64<<10 {
			return
		}
		chunk = max(chunk, 1)
		one, other := joint(t, request), joint(t, request)
		got, again := pass(one, text, chunk), pass(other, text, 1<<20)
		if len(one.Turn().Calls) > 0 {
			if _, err := one.Continue(make([]wire.Result, len(one.Turn().Calls))); err != nil {
				t.Fatal(err)
			}
			other.Close(nil)
		}
		if got != again {
			t.Fatalf("in chunks %q, as a whole %q", got, again)
		}
		if !strings.Contains(text, "bmcp_") && !strings.Contains(text, `\u`) && !strings.Contains(text, "\r") && got+string(other.Finish(nil)) != text &&
			!strings.Contains(text, "content_block_start") {
			t.Fatalf("got %q of %q", got, text)
		}
	})
}

// TestContainer has a first round in which the provider ran code: the next one goes on in its container, unless the client names one.
func TestContainer(t *testing.T) {
	const told = `"container":{"id":"container_1","expires_at":"2026-11-26T00:00:00Z"}`
	for name, test := range map[string]struct{ asked, told, want string }{
		"streamed":     {``, told, `"container_1"`},
		"null":         {`"container":null,`, told, `"container_1"`},
		"with skills":  {`"container":{"skills":[{"type":"anthropic"}]},`, told, `{"skills":[{"type":"anthropic"}],"id":"container_1"}`},
		"named":        {`"container":"own",`, told, `"own"`},
		"named in it":  {`"container":{"id":"own"},`, told, `{"id":"own"}`},
		"none":         {``, `"container":null`, ``},
		"without code": {``, `"x":1`, ``},
	} {
		for _, form := range []wire.Form{wire.Stream, wire.Body} {
			body := strings.Replace(request, "{", "{"+test.asked, 1)
			j := joint(t, body)
			if form == wire.Stream {
				ended := strings.Replace(end("tool_use", 20)[0], `"delta":{`, `"delta":{`+test.told+`,`, 1)
				pass(j, stream(start("msg_1", 10), call(0, "a1", "bmcp_x_y", `{}`), ended, end("", 0)[1]), 100)
			} else {
				j.Begin(form)
				j.Pass(nil, sse.Event{Data: []byte(`{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"tool_use","id":"a1","name":"bmcp_x_y","input":{}}],` +
					`"stop_reason":"tool_use",` + test.told + `,"usage":{"input_tokens":1,"output_tokens":1}}`)})
			}
			if turn := j.Turn(); len(turn.Calls) != 1 {
				t.Fatalf("%s: %+v", name, turn)
			}
			if got := gjson.Get(next(t, j, body, said("x")), "container").Raw; got != test.want {
				t.Errorf("%s: the next round has the container %s, want %s", name, got, test.want)
			}
		}
	}
}
