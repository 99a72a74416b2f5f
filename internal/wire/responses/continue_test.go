package responses_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

func TestContinue(t *testing.T) {
	one := []string{reasoning(1), ourCall(1)}
	strict := `{"status":"completed","type":"reasoning","id":"rs_1","content":[{"type":"reasoning_text","text":"x"}],"encrypted_content":"s"}`
	unknown := `{"type":"reasoning","id":"rs_7","summary":[]}`
	for name, test := range map[string]struct {
		asked   string
		answers []answer
		want    []string // The requests after the first.
	}{
		"string": {
			`{"input": "h\u00fc" ,"model":"m"}`, []answer{{items: one}},
			[]string{`{"input": [{"type":"message","role":"user","content":"h\u00fc"},` + reasoning(1) + `,` + ourCall(1) + `,` + outputOf("our_1") + `] ,"model":"m"}`},
		},
		"no input": {
			`{"previous_response_id":"resp_0"}`, []answer{{items: []string{ourCall(1)}}},
			[]string{`{"previous_response_id":"resp_0","input":[` + ourCall(1) + `,` + outputOf("our_1") + `]}`},
		},
		"stored": {
			`{"input":"a","previous_response_id":"resp_0"}`,
			[]answer{{id: "resp_1", store: "true", items: one}, {id: "resp_2", store: "true", items: []string{ourCall(2), ourCall(3)}}},
			[]string{
				`{"input":[` + outputOf("our_1") + `],"previous_response_id":"resp_1"}`,
				`{"input":[` + outputOf("our_2") + `,` + outputOf("our_3") + `],"previous_response_id":"resp_2"}`,
			},
		},
		"stored against what was asked": {
			`{"input":[],"store":false}`, []answer{{store: "true", items: one}},
			[]string{`{"input":[` + reasoning(1) + `,` + ourCall(1) + `,` + outputOf("our_1") + `],"store":false}`},
		},
		"not stored, though asked": {
			`{"input":[],"store":true}`, []answer{{store: "false", items: one}},
			[]string{`{"input":[` + reasoning(1) + `,` + ourCall(1) + `,` + outputOf("our_1") + `],"store":true}`},
		},
		"conversation": {
			`{"input":"a","conversation":{"id":"conv_1"}}`,
			[]answer{{store: "true", items: one}, {store: "true", items: []string{ourCall(2)}}},
			[]string{
				`{"input":[` + outputOf("our_1") + `],"conversation":{"id":"conv_1"}}`,
				`{"input":[` + outputOf("our_2") + `],"conversation":{"id":"conv_1"}}`,
			},
		},
		"reasoning with state and text": {
			`{"input":[]}`, []answer{{items: []string{strict, ourCall(1)}}},
			[]string{`{"input":[{"type":"reasoning","id":"rs_1","encrypted_content":"s"},` + ourCall(1) + `,` + outputOf("our_1") + `]}`},
		},
		"reasoning that is not known": {
			`{"input":[]}`, []answer{{items: []string{ourCall(1), unknown, message(1), ourCall(2), reasoning(1), ourCall(3)}}, {items: []string{ourCall(4)}}},
			[]string{
				`{"input":[` + strings.Join([]string{ourCall(1), withoutID(message(1)), withoutID(ourCall(2)), reasoning(1), ourCall(3), outputOf("our_1"), outputOf("our_2"), outputOf("our_3")}, ",") + `]}`,
				`{"input":[` + strings.Join([]string{ourCall(1), withoutID(message(1)), withoutID(ourCall(2)), reasoning(1), ourCall(3), outputOf("our_1"), outputOf("our_2"), outputOf("our_3"), ourCall(4), outputOf("our_4")}, ",") + `]}`,
			},
		},
		"two calls with one id": {
			`{"input":[]}`, []answer{{items: []string{ourCall(1), strings.Replace(ourCall(2), "our_2", "our_1", 1)}}},
			[]string{`{"input":[` + ourCall(1) + `,` + strings.Replace(ourCall(2), "our_2", "our_1", 1) + `,` + outputOf("our_1") + `,` + outputOf("our_1") + `]}`},
		},
		"items come only at the end": {
			`{"input":[]}`, []answer{{items: []string{ourCall(1)}, noDone: true}},
			[]string{`{"input":[` + ourCall(1) + `,` + outputOf("our_1") + `]}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := playBoth(t, test.asked, nil, append(test.answers, answer{id: "resp_9", items: []string{message(9)}})...)
			if strings.Join(p.requests, "\n") != strings.Join(test.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(p.requests, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// What was restored in the first request stays in the next ones, unless the provider knows it.
func TestContinueRestored(t *testing.T) {
	kept := rounds(t).kept()
	sent := inputOf(user, theirCall(1), outputOf("their0123456789_1"))
	before := restored(t, sent, kept)
	p := playBoth(t, sent, kept, answer{items: []string{ourCall(5)}}, answer{items: []string{message(5)}})
	want := strings.Replace(before, `],"tools"`, `,`+ourCall(5)+`,`+outputOf("our_5")+`],"tools"`, 1)
	if p.requests[0] != want {
		t.Errorf("got\n%s\nwant\n%s", p.requests[0], want)
	}
	p = playBoth(t, sent, kept, answer{id: "resp_5", store: "true", items: []string{ourCall(5)}}, answer{items: []string{message(5)}})
	if want := `{"model":"m","input":[` + outputOf("our_5") + `],"tools":[],"previous_response_id":"resp_5"}`; p.requests[0] != want {
		t.Errorf("got\n%s\nwant\n%s", p.requests[0], want)
	}
	chained := `{"previous_response_id":"resp_1","input":[` + outputOf("their0123456789_1") + `]}`
	p = playBoth(t, chained, kept, answer{items: []string{ourCall(5)}}, answer{items: []string{message(5)}})
	if want := `{"previous_response_id":"resp_2","input":[` + strings.Join([]string{outputOf("our_2"), outputOf("their0123456789_1"), ourCall(5), outputOf("our_5")}, ",") + `]}`; p.requests[0] != want {
		t.Errorf("got\n%s\nwant\n%s", p.requests[0], want)
	}
}

func TestResults(t *testing.T) {
	for name, test := range map[string]struct {
		result wire.Result
		want   string
	}{
		"none":       {wire.Result{}, `""`},
		"text":       {wire.Result{Parts: []wire.Part{{Text: "a <b>\n\xff"}}}, `"a <b>\n` + "\\ufffd" + `"`},
		"texts":      {wire.Result{Parts: []wire.Part{{Text: "a"}, {Text: "b"}}}, `"a\nb"`},
		"error":      {wire.Result{IsError: true, Parts: []wire.Part{{Text: "no"}}}, `"Error: no"`},
		"says error": {wire.Result{IsError: true, Parts: []wire.Part{{Text: "ERROR 7"}}}, `"ERROR 7"`},
		"only error": {wire.Result{IsError: true}, `"Error: "`},
		"image": {
			wire.Result{Parts: []wire.Part{{Text: "a"}, {MediaType: "image/png", Data: []byte{1, 2}}}},
			`[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:image/png;base64,AQI="}]`,
		},
		"error with an image": {
			wire.Result{IsError: true, Parts: []wire.Part{{MediaType: "image/png"}}},
			`[{"type":"input_text","text":"Error: "},{"type":"input_image","image_url":"data:image/png;base64,"}]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			body := parseBody(t, `{"conversation":"c"}`)
			joint := tooling().Join(wire.Joined{Body: body, IsOurs: isOurs})
			joint.Begin(wire.Body)
			joint.Pass(nil, sse.Event{Data: answer{items: []string{ourCall(1)}}.body()})
			edits, err := joint.Continue([]wire.Result{test.result})
			if err != nil {
				t.Fatal(err)
			}
			got, err := jsonedit.Splice(body.Bytes(), edits...)
			want := `{"conversation":"c","input":[{"type":"function_call_output","call_id":"our_1","output":` + test.want + `}]}`
			if err != nil || string(got) != want {
				t.Errorf("got %s, %v, want %s", got, err, want)
			}
		})
	}
}

// Where there is no memory for a turn, it is not continued. The client gets its answer all the same.
func TestNoMemory(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	big := strings.Replace(ourCall(1), `{\"n\":1}`, long, 1)
	for form, data := range map[wire.Form][]byte{wire.Stream: answer{items: []string{big}}.stream(), wire.Body: answer{items: []string{big}}.body()} {
		joint := tooling().Join(wire.Joined{Body: parseBody(t, asked), IsOurs: isOurs, Memory: memory.New(1).Share()})
		joint.Begin(form)
		events := []sse.Event{{Data: data}}
		if form == wire.Stream {
			events = split(data)
		}
		var client []byte
		for _, event := range events {
			client = joint.Pass(client, event)
		}
		if calls := joint.Turn().Calls; len(calls) != 1 || len(calls[0].Input) != len(long) {
			t.Errorf("form %v: %d calls", form, len(calls))
		}
		if _, err := joint.Continue(make([]wire.Result, 1)); !errors.Is(err, wire.ErrTurnTooLarge) {
			t.Errorf("form %v: got error %v", form, err)
		}
	}
}
