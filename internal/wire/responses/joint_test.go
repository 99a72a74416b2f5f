package responses_test

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

const asked = `{"model":"m","input":[{"role":"user","content":"hi"}],"tools":[]}`

// ids returns what tells the items of a list apart, for comparison.
func ids(list gjson.Result) string {
	var all []string
	list.ForEach(func(_, item gjson.Result) bool {
		name := item.Get("type").Str
		for _, member := range []string{"id", "call_id", "role"} {
			if value := item.Get(member); value.Exists() {
				name += " " + value.Str
			}
		}
		all = append(all, name)
		return true
	})
	return strings.Join(all, ", ")
}

func TestOneRound(t *testing.T) {
	a := answer{id: "resp_1", items: []string{reasoning(1), message(1), theirCall(1)}, usage: `{"input_tokens":1}`}
	p := playBoth(t, asked, nil, a)
	want := strings.ReplaceAll(string(a.stream()), ","+ourTool, "")
	if string(p.client) != want {
		t.Errorf("got\n%s\nwant\n%s", p.client, want)
	}
	if len(p.calls) > 0 || p.mixed || len(p.keep.Turn) > 0 || strings.Join(p.keep.Keys, " ") != "responses:their0123456789_1 response:resp_1" {
		t.Errorf("got calls %v, mixed %v, kept %s under %v", p.calls, p.mixed, p.keep.Turn, p.keep.Keys)
	}
}

func TestRounds(t *testing.T) {
	p := playBoth(t, asked, nil,
		answer{id: "resp_1", items: []string{reasoning(1), ourCall(1), message(1), ourCall(2)}, usage: `{"input_tokens":1,"details":{"x":1}}`},
		answer{id: "resp_2", items: []string{ourCall(3)}, usage: `{"input_tokens":2,"details":{"x":2}}`},
		answer{id: "resp_3", items: []string{reasoning(2), message(2)}, usage: `{"input_tokens":3,"details":{"x":3}}`, previous: `"resp_0"`},
	)
	end := gjson.Parse(accumulate(t, p.client))
	if got := ids(end.Get("output")); got != "reasoning rs_1, message msg_1 assistant, reasoning rs_2, message msg_2 assistant" {
		t.Errorf("the client sees %s", got)
	}
	if end.Get("id").Str != "resp_1" || end.Get("created_at").Int() != 171 || end.Get("previous_response_id").Raw != "null" {
		t.Errorf("the answer is %s", end.Raw)
	}
	if end.Get("usage").Raw != `{"input_tokens":6,"details":{"x":6}}` {
		t.Errorf("the usage is %s", end.Get("usage"))
	}
	if len(p.calls) != 3 || p.calls[1].ID != "our_2" || p.calls[1].ItemID != "fc_2" || p.calls[1].Name != "bmcp_s_t" || p.calls[1].Input != `{"n":2}` {
		t.Errorf("the calls are %+v", p.calls)
	}
	first := `{"model":"m","input":[{"role":"user","content":"hi"},` + strings.Join([]string{
		reasoning(1), ourCall(1), message(1), ourCall(2), outputOf("our_1"), outputOf("our_2"),
	}, ",")
	if want := first + `],"tools":[]}`; p.requests[0] != want {
		t.Errorf("the second request is\n%s\nwant\n%s", p.requests[0], want)
	}
	if want := first + "," + ourCall(3) + "," + outputOf("our_3") + `],"tools":[]}`; p.requests[1] != want {
		t.Errorf("the third request is\n%s\nwant\n%s", p.requests[1], want)
	}
}

func TestMixed(t *testing.T) {
	p := playBoth(t, asked, nil,
		answer{id: "resp_1", items: []string{reasoning(1), ourCall(1)}},
		answer{id: "resp_2", items: []string{reasoning(2), ourCall(2), theirCall(1), ourCall(3), theirCall(2)}},
	)
	if got := ids(gjson.Get(accumulate(t, p.client), "output")); got != "reasoning rs_1, reasoning rs_2, function_call fc_c1 their0123456789_1, function_call fc_c2 their0123456789_2" {
		t.Errorf("the client sees %s", got)
	}
	if !p.mixed || !strings.HasPrefix(strings.Join(p.keep.Keys, " "), "responses:their0123456789_1 responses:their0123456789_2 response:resp_1 responses:reasoning ") {
		t.Errorf("mixed is %v, the keys are %v", p.mixed, p.keep.Keys)
	}
}

// An answer that did not end in good order wants nothing: a call of it may have been cut.
func TestCut(t *testing.T) {
	for _, status := range []string{"incomplete", "failed"} {
		p := playBoth(t, asked, nil, answer{id: "resp_1", status: status, items: []string{message(1), ourCall(1), theirCall(1)}, usage: `{"input_tokens":1}`})
		end := accumulate(t, p.client)
		if got := ids(gjson.Get(end, "output")); got != "message msg_1 assistant, function_call fc_c1 their0123456789_1" || gjson.Get(end, "status").Str != status {
			t.Errorf("the client sees %s, and %s", end, got)
		}
		if len(p.calls) > 0 {
			t.Errorf("%s: got calls %v", status, p.calls)
		}
		p = playBoth(t, asked, nil, answer{id: "resp_1", items: []string{ourCall(1)}, usage: `{"input_tokens":1}`},
			answer{id: "resp_2", status: status, items: []string{message(1), ourCall(2)}, usage: `{"input_tokens":1}`})
		end = accumulate(t, p.client)
		if gjson.Get(end, "id").Str != "resp_1" || gjson.Get(end, "usage.input_tokens").Int() != 2 || len(p.calls) != 1 {
			t.Errorf("got %s, calls %v", end, p.calls)
		}
		last := map[string]string{"incomplete": "resp_2", "failed": "resp_1"}[status] // That the provider has stored.
		if turn, _ := wire.DecodeTurn(p.keep.Turn); turn.Last != last {
			t.Errorf("%s: kept %s", status, p.keep.Turn)
		}
	}
}

// The event that ends the answer can lack the items. The client gets them there once they are not those that came.
func TestNoOutput(t *testing.T) {
	one := answer{id: "resp_1", items: []string{message(1)}, noOutput: true}
	p := play(t, wire.Stream, asked, nil, one.stream())
	if output := gjson.Get(accumulate(t, p.client), "output").Raw; output != "[]" {
		t.Errorf("got %s", output)
	}
	p = play(t, wire.Stream, asked, nil, answer{id: "resp_1", items: []string{message(1), ourCall(1)}, noOutput: true}.stream(),
		answer{id: "resp_2", items: []string{message(2), theirCall(1)}, noOutput: true}.stream())
	if got := ids(gjson.Get(accumulate(t, p.client), "output")); got != "message msg_1 assistant, message msg_2 assistant, function_call fc_c1 their0123456789_1" {
		t.Errorf("got %s", got)
	}
}

func TestFail(t *testing.T) {
	failure := wire.Failure{Type: "server_error", Code: "too_many_rounds", Message: "too \"many\""}
	joint := tooling().Join(wire.Joined{Body: parseBody(t, asked), IsOurs: isOurs})
	want := "event: response.failed\ndata: " + `{"type":"response.failed","sequence_number":0,"response":{"id":"","object":"response","status":"failed",` +
		`"error":{"code":"too_many_rounds","message":"too \"many\""},"output":[]}}` + "\n\n"
	if got := string(joint.Fail(nil, failure)); got != want {
		t.Errorf("without any answer: got\n%s\nwant\n%s", got, want)
	}

	first := answer{id: "resp_1", items: []string{message(1), ourCall(1)}, usage: `{"input_tokens":1}`}
	second := split(answer{id: "resp_2", items: []string{message(2), ourCall(2), theirCall(1)}, usage: `{"input_tokens":2}`}.stream())
	// After the first round, within the second, and at its end.
	for _, events := range []int{-1, 5, len(second)} {
		joint = tooling().Join(wire.Joined{Body: parseBody(t, asked), IsOurs: isOurs})
		joint.Begin(wire.Stream)
		var client []byte
		for _, event := range split(first.stream()) {
			client = joint.Pass(client, event)
		}
		client = joint.Ping(client)
		wantOutput, wantUsage := "message msg_1 assistant", int64(1)
		if events >= 0 {
			if _, err := joint.Continue(make([]wire.Result, 1)); err != nil {
				t.Fatal(err)
			}
			joint.Begin(wire.Stream)
			for _, event := range second[:events] {
				client = joint.Pass(client, event)
			}
			wantOutput += ", message msg_2 assistant"
		}
		if events == len(second) {
			wantOutput, wantUsage = wantOutput+", function_call fc_c1 their0123456789_1", 3
		}
		if events == 5 { // Up to the text, whose item is not done.
			wantOutput = "message msg_1 assistant"
		}
		client = joint.Fail(client, failure)
		end := split(client)
		response := gjson.GetBytes(end[len(end)-1].Data, "response")
		if string(end[len(end)-1].Type) != "response.failed" || response.Get("status").Str != "failed" || response.Get("id").Str != "resp_1" ||
			response.Get("error").Raw != `{"code":"too_many_rounds","message":"too \"many\""}` {
			t.Errorf("got %s", end[len(end)-1].Raw)
		}
		if got := ids(response.Get("output")); got != wantOutput || response.Get("usage.input_tokens").Int() != wantUsage {
			t.Errorf("%d events: got output %s, usage %s", events, got, response.Get("usage"))
		}
		for at, event := range end {
			if gjson.GetBytes(event.Data, "sequence_number").Int() != int64(at) {
				t.Errorf("event %d is %s", at, event.Raw)
			}
		}
		if strings.Contains(string(client), "bmcp_") {
			t.Errorf("the client sees %s", client)
		}
	}
}

// A ping is an event with the response object as it was when it began, whether that came or not.
func TestPing(t *testing.T) {
	first := answer{id: "resp_1", items: []string{ourCall(1)}, usage: `{"input_tokens":1}`}
	whole := split(first.stream())
	for name, events := range map[string][]int{"begun": {0, len(whole)}, "only ended": {2, len(whole)}} {
		joint := tooling().Join(wire.Joined{Body: parseBody(t, asked), IsOurs: isOurs})
		joint.Begin(wire.Stream)
		for _, event := range whole[events[0]:events[1]] {
			joint.Pass(nil, event)
		}
		ping := split(joint.Ping(nil))[0]
		object := strings.ReplaceAll(first.object("in_progress", "[]"), ","+ourTool, "")
		want := `{"type":"response.in_progress","sequence_number":` + map[string]string{"begun": "2", "only ended": "0"}[name] + `,"response":` + object + `}`
		if string(ping.Type) != "response.in_progress" || string(ping.Data) != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, ping.Raw, want)
		}
		if again := split(joint.Ping(nil))[0]; gjson.GetBytes(again.Data, "sequence_number").Int() != gjson.GetBytes(ping.Data, "sequence_number").Int()+1 {
			t.Errorf("%s: the second ping is %s", name, again.Raw)
		}
	}
}
