package responses_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// data returns a stream of events that are nothing but data.
func data(events ...string) []byte {
	var stream bytes.Buffer
	for _, event := range events {
		fmt.Fprintf(&stream, "data: %s\n\n", event)
	}
	return stream.Bytes()
}

func TestOddServers(t *testing.T) {
	completed := func(output ...string) string {
		return `{"type":"response.completed","response":{"id":"r","status":"completed","output":[` + strings.Join(output, ",") + `],"usage":{"input_tokens":1}}}`
	}
	item := func(happens, members, item string) string {
		return `{"type":"response.output_item.` + happens + `",` + members + `"item":` + item + `}`
	}
	named := func(id, callID, name string) string {
		return fmt.Sprintf(`{"type":"function_call","id":"%s","call_id":"%s","name":"%s","arguments":"{}"}`, id, callID, name)
	}
	arguments := func(members string) string {
		return `{"type":"response.function_call_arguments.delta",` + members + `"delta":"{}"}`
	}
	last := data(item("done", `"output_index":0,`, message(9)), completed(message(9)))
	lastSeen := func(at string) []string {
		return []string{item("done", `"output_index":`+at+`,`, message(9))}
	}
	for name, test := range map[string]struct {
		stream []byte
		calls  string
		want   []string // What the client gets, but for the event at the end.
		output string   // Of that event.
	}{
		"another id each time": {
			data(item("added", `"output_index":0,`, named("x1", "c", "shell")), item("added", `"output_index":1,`, named("y1", "o", "bmcp_a")),
				arguments(`"item_id":"x2","output_index":0,`), arguments(`"item_id":"y2","output_index":1,`),
				item("done", `"output_index":0,`, named("x3", "c", "shell")), item("done", `"output_index":1,`, named("y3", "o", "bmcp_a")), completed()),
			"o",
			[]string{item("added", `"output_index":0,`, named("x1", "c", "shell")), arguments(`"item_id":"x2","output_index":0,`), item("done", `"output_index":0,`, named("x3", "c", "shell"))},
			"function_call x3 c",
		},
		"one place for all": {
			data(item("added", `"output_index":0,`, named("x", "c", "shell")), item("added", `"output_index":0,`, named("y", "o", "bmcp_a")),
				arguments(`"item_id":"x","output_index":0,`), arguments(`"item_id":"y","output_index":0,`), arguments(`"item_id":"x",`),
				item("done", `"output_index":0,`, named("y", "o", "bmcp_a")), item("done", `"output_index":0,`, named("x", "c", "shell")), completed()),
			"o",
			[]string{item("added", `"output_index":0,`, named("x", "c", "shell")), arguments(`"item_id":"x","output_index":0,`), arguments(`"item_id":"x",`), item("done", `"output_index":0,`, named("x", "c", "shell"))},
			"function_call x c",
		},
		"neither id nor place": {
			data(item("added", ``, named("", "c", "shell")), arguments(``), item("done", ``, named("", "c", "shell")),
				item("added", ``, named("", "o", "bmcp_a")), arguments(``), item("done", ``, named("", "o", "bmcp_a")), completed()),
			"o",
			[]string{item("added", ``, named("", "c", "shell")), arguments(``), item("done", ``, named("", "c", "shell"))},
			"function_call  c",
		},
		"the name at the end of the arguments": {
			data(`{"type":"response.function_call_arguments.done","name":"bmcp_a","arguments":"{}"}`, item("done", ``, named("", "o", "bmcp_a")), completed()),
			"o", nil, "",
		},
		"a namespace of the client's": {
			data(item("done", ``, `{"namespace":"n",`+named("y", "c", "bmcp_a")[1:]), item("done", ``, named("z", "o", "bmcp_a")), completed()),
			"o", []string{item("done", ``, `{"namespace":"n",`+named("y", "c", "bmcp_a")[1:])}, "function_call y c",
		},
		"items only at the end": {
			data(completed(message(1), named("y", "o", "bmcp_a"))), "o", nil, "message msg_1 assistant",
		},
		"a bare response": {
			data(`{"object":"response","id":"r","status":"in_progress","output":[]}`, item("done", ``, named("y", "o", "bmcp_a")),
				`{"object":"response","id":"r","status":"completed","output":[`+named("y", "o", "bmcp_a")+`]}`),
			"o", []string{`{"object":"response","id":"r","status":"in_progress","output":[]}`}, "",
		},
		"[DONE]": {
			data(item("done", ``, named("y", "o", "bmcp_a")), completed(), `[DONE]`), "o", nil, "",
		},
		"the call goes on behind the end": {
			data(item("added", `"output_index":0,`, named("y", "o", "bmcp_a")), completed(named("y", "o", "bmcp_a")), arguments(`"item_id":"y",`),
				item("done", `"output_index":0,`, named("y", "o", "bmcp_a"))), "o", nil, "",
		},
		"[DONE] before the end": {
			data(item("done", ``, named("y", "o", "bmcp_a")), `[DONE]`, completed()), "o", nil, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.stream = bytes.ReplaceAll(test.stream, []byte(`"id":"",`), nil)
			var seen []string
			for _, event := range test.want {
				seen = append(seen, strings.ReplaceAll(event, `"id":"",`, ""))
			}
			// Once as the only round, whose results are kept.
			joint := tooling().Join(wire.Joined{Body: parseBody(t, asked), IsOurs: isOurs})
			joint.Begin(wire.Stream)
			var client []byte
			for _, event := range split(test.stream) {
				client = joint.Pass(client, event)
			}
			var calls []string
			for _, call := range joint.Turn().Calls {
				calls = append(calls, call.ID)
			}
			if strings.Join(calls, " ") != test.calls {
				t.Errorf("the calls are %v, want %s", calls, test.calls)
			}
			if want := string(data(seen...)); string(client) != want {
				t.Errorf("got\n%s\nwant\n%s", client, want)
			}
			end := string(joint.Finish(nil))
			for _, event := range split([]byte(end)) {
				object := gjson.ParseBytes(event.Data)
				if !object.IsObject() {
					continue
				}
				if response := object.Get("response"); response.Exists() {
					object = response
				}
				if got := ids(object.Get("output")); got != strings.ReplaceAll(test.output, "  ", " ") {
					t.Errorf("at the end the client gets %s, want %s", got, test.output)
				}
			}
			if test.output == "" && (strings.Contains(end, "bmcp_") || strings.Contains(end, "arguments")) {
				t.Errorf("the end has something of the call: %s", end)
			}
			if strings.Contains(name, "DONE") && strings.Count(end, "[DONE]") != 1 {
				t.Errorf("the end is %s", end)
			}

			// And once with another round, behind which nothing of the first one's end is left.
			if joint.Turn().Mixed {
				return
			}
			if _, err := joint.Continue(make([]wire.Result, 1)); err != nil {
				t.Fatal(err)
			}
			joint.Begin(wire.Stream)
			client = client[:0]
			for _, event := range split(last) {
				client = joint.Pass(client, event)
			}
			at := fmt.Sprint(len(strings.FieldsFunc(test.output, func(r rune) bool { return r == ',' })))
			if want := string(data(lastSeen(at)...)); !strings.HasPrefix(string(client), want) {
				t.Errorf("the second round is\n%s\nwant\n%s", client, want)
			}
		})
	}
}

// A response can say nothing of its usage but beside itself.
func TestUsageBeside(t *testing.T) {
	round := func(item, usage string) []byte {
		return data(`{"type":"response.output_item.done","output_index":0,"item":`+item+`}`,
			`{"type":"response.completed","response":{"id":"r","output":[],"tool_usage":{"web_search":{"num_requests":1}}},"usage":`+usage+`}`)
	}
	p := play(t, wire.Stream, asked, nil, round(ourCall(1), `{"input_tokens":1}`), round(message(1), `{"input_tokens":2}`))
	if !bytes.Contains(p.client, []byte(`"tool_usage":{"web_search":{"num_requests":2}}},"usage":{"input_tokens":3}}`)) {
		t.Errorf("got %s", p.client)
	}
}

func TestCallsOfClients(t *testing.T) {
	for item, mixed := range map[string]bool{
		theirCall(1): true,
		`{"type":"custom_tool_call","id":"i","call_id":"c","name":"apply_patch","input":"x"}`:     true,
		`{"type":"shell_call","id":"i","call_id":"c","action":{}}`:                                true,
		`{"type":"shell_call","id":"i","call_id":"c"},{"type":"shell_call_output","call_id":"c"}`: false,
		`{"type":"apply_patch_call","id":"i","call_id":"c","operation":{}}`:                       true,
		`{"type":"local_shell_call","id":"i","call_id":"c","action":{}}`:                          true,
		`{"type":"computer_call","id":"i","call_id":"c","actions":[]}`:                            true,
		`{"type":"tool_search_call","id":"i","call_id":"c","execution":"client"}`:                 true,
		`{"type":"tool_search_call","id":"i","call_id":"c","execution":"server"}`:                 false,
		`{"type":"tool_search_call","id":"i","call_id":null,"execution":"server"}`:                false,
		`{"type":"mcp_approval_request","id":"mcpr_1","name":"n","arguments":"{}"}`:               true,
		`{"type":"mcp_call","id":"i","name":"n","arguments":"{}"}`:                                false,
		`{"type":"web_search_call","id":"i","action":{}}`:                                         false,
		`{"type":"code_interpreter_call","id":"i","call_id":"c"}`:                                 false,
		`{"type":"image_generation_call","id":"i","result":"x"}`:                                  false,
		reasoning(1): false,
		message(1):   false,
	} {
		data := []byte(`{"id":"r","object":"response","status":"completed","output":[` + ourCall(1) + `,` + item + `]}`)
		joint := tooling().Join(wire.Joined{Body: parseBody(t, asked), IsOurs: isOurs})
		joint.Begin(wire.Body)
		for _, event := range split([]byte("data: " + string(data) + "\n\n")) {
			joint.Pass(nil, event)
		}
		if turn := joint.Turn(); turn.Mixed != mixed || len(turn.Calls) != 1 {
			t.Errorf("%s: got %+v", item, turn)
		}
	}
}

// A response object can be an event of its own, anywhere in a stream, and of any kind. The client sees nothing of the gateway's
// in it, whichever round it is in.
func TestResponseObjects(t *testing.T) {
	output := `"output":[` + message(1) + "," + ourCall(1) + `]`
	shown := `"output":[` + message(1) + `]`
	tools, own := `"tools":[`+theirTool+","+ourTool+`]`, `"tools":[`+theirTool+`]`
	for name, format := range map[string]string{
		"bare":                       `{"id":"resp_1","object":"response","status":"in_progress",%s,%s}`,
		"without a state":            `{"id":"resp_1","object":"response",%s,%s}`,
		"that does not say what":     `{"id":"resp_1","status":"in_progress",%s,%s}`,
		"with the type of an event":  `{"type":"response.in_progress","id":"resp_1",%s,%s}`,
		"with its own type":          `{"type":"response","id":"resp_1",%s,%s}`,
		"within an event":            `{"type":"response.in_progress","response":{"id":"resp_1",%s,%s}}`,
		"within an unknown event":    `{"type":"response.snapshot","response":{"id":"resp_1",%s,%s}}`,
		"within an event, no prefix": `{"response":{"id":"resp_1",%s,%s},"type":"snapshot"}`,
	} {
		object, want := fmt.Sprintf(format, output, tools), fmt.Sprintf(format, shown, own)
		for _, kind := range []string{"", "event: ping\n", "event: response.output_text.delta\n"} {
			joint := tooling().Join(wire.Joined{Body: parseBody(t, asked), IsOurs: isOurs})
			joint.Begin(wire.Stream)
			var client []byte
			pass := func(stream string) {
				for _, event := range split([]byte(stream)) {
					client = joint.Pass(client, event)
				}
			}
			if pass(kind + "data: " + object + "\n\n"); string(client) != kind+"data: "+want+"\n\n" {
				t.Errorf("%s, %q: the client gets\n%s\nwant\n%s", name, kind, client, want)
			}
			first := string(answer{id: "resp_1", items: []string{message(1), ourCall(1)}}.stream())
			pass(first)
			if calls := joint.Turn().Calls; len(calls) != 1 {
				t.Errorf("%s: the calls are %v", name, calls)
			}
			if _, err := joint.Continue(make([]wire.Result, 1)); err != nil {
				t.Fatal(err)
			}
			joint.Begin(wire.Stream)
			second := strings.ReplaceAll(kind+"data: "+object+"\n\n", "resp_1", "resp_2")
			before := len(client)
			pass(second)
			if len(client) > before {
				t.Errorf("%s, %q, later: the client gets %s", name, kind, client[before:])
			}
			pass(strings.ReplaceAll(second, "in_progress", "completed") + string(answer{id: "resp_2", items: []string{message(2)}}.stream()))
			client = joint.Finish(client)
			if strings.Contains(string(client), "bmcp_") || strings.Contains(string(client), "resp_2") {
				t.Errorf("%s, %q: the client gets %s", name, kind, client)
			}
		}
	}
}
