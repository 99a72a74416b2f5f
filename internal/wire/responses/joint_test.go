package responses_test

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"
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
	if len(p.calls) > 0 || p.mixed || len(p.keep.Keys) > 0 {
		t.Errorf("got calls %v, mixed %v, keys %v", p.calls, p.mixed, p.keep.Keys)
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
	if got := ids(gjson.Get(accumulate(t, p.client), "output")); got != "reasoning rs_1, reasoning rs_2, function_call fc_c1 their_1, function_call fc_c2 their_2" {
		t.Errorf("the client sees %s", got)
	}
	if !p.mixed || strings.Join(p.keep.Keys, " ") != "responses:their_1 responses:their_2 response:resp_1" {
		t.Errorf("mixed is %v, the keys are %v", p.mixed, p.keep.Keys)
	}
}
