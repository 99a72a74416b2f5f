package responses_test

import (
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// TestKeptAtEachEnd has answers that end in each way. Whatever the provider has stored of them is continued with the results
// that it insists on: a later request has them in front, whatever its input is.
func TestKeptAtEachEnd(t *testing.T) {
	const notRun = `{"type":"function_call_output","call_id":"our_1","output":"Error: The call was not run."}`
	mayHaveRun := strings.Replace(notRun, "The call was not run.", "The call may have run; its result is not known.", 1)
	notRun2 := strings.Replace(notRun, "our_1", "our_2", 1)
	cutCall := strings.Replace(strings.Replace(ourCall(1), `{\"n\":1}`, `{\"n`, 1), `"completed"`, `"incomplete"`, 1)
	first := answer{id: "resp_1", items: []string{message(1), ourCall(1)}}
	for name, test := range map[string]struct {
		answers   []answer
		results   bool   // Of the last answer's calls.
		handed    bool   // The last answer's calls were handed out to be run.
		cut       bool   // The last answer is cut before the event that ends it.
		last      string // The id that the next request goes on with.
		want      string // What it has in front; in a conversation, too.
		isUnknown bool   // The conversation knows nothing of the answer.
	}{
		"no call":                      {answers: []answer{{id: "resp_1", items: []string{message(1)}}}, last: "resp_1"},
		"the tools were not run":       {answers: []answer{first}, last: "resp_1", want: notRun},
		"the tools may run":            {answers: []answer{first}, handed: true, last: "resp_1", want: mayHaveRun},
		"the tools may run, later":     {answers: []answer{first, {id: "resp_2", items: []string{ourCall(2)}}}, handed: true, last: "resp_2", want: strings.Replace(mayHaveRun, "our_1", "our_2", 1)},
		"mixed, the tools may run":     {answers: []answer{{id: "resp_1", items: []string{theirCall(1), ourCall(1)}}}, handed: true, last: "resp_1", want: mayHaveRun},
		"asked for cut calls":          {answers: []answer{{id: "resp_1", status: "incomplete", items: []string{cutCall}}}, handed: true, last: "resp_1", want: notRun},
		"the limit of rounds":          {answers: []answer{first}, results: true, last: "resp_1", want: outputOf("our_1")},
		"cut by its length":            {answers: []answer{{id: "resp_1", status: "incomplete", items: []string{cutCall}}}, last: "resp_1", want: notRun},
		"cut by its length, later":     {answers: []answer{first, {id: "resp_2", status: "incomplete", items: []string{ourCall(2)}}}, last: "resp_2", want: notRun2},
		"a later round is refused":     {answers: []answer{first, {}}, last: "resp_1", want: outputOf("our_1")},
		"a later round fails":          {answers: []answer{first, {id: "resp_2", status: "failed", items: []string{ourCall(2)}}}, last: "resp_1", want: outputOf("our_1")},
		"a later round is cut":         {answers: []answer{first, {id: "resp_2", items: []string{ourCall(2)}}}, cut: true, last: "resp_1", want: outputOf("our_1")},
		"text in the end":              {answers: []answer{first, {id: "resp_2", items: []string{message(2)}}}, last: "resp_2"},
		"the first round is cut":       {answers: []answer{first}, cut: true, last: "resp_1", want: notRun, isUnknown: true},
		"mixed, and cut by its length": {answers: []answer{{id: "resp_1", status: "incomplete", items: []string{theirCall(1), ourCall(1)}}}, last: "resp_1", want: notRun},
	} {
		for _, asked := range []string{`{"model":"m","input":"hi"}`, `{"model":"m","input":"hi","conversation":"conv_1"}`} {
			joint := tooling().Join(wire.Joined{Body: parseBody(t, asked), IsOurs: isOurs})
			for n, a := range test.answers {
				if a.id == "" {
					break
				}
				joint.Begin(wire.Stream)
				events := split(a.stream())
				isLast := n == len(test.answers)-1
				if test.cut && isLast {
					events = events[:len(events)-1]
				}
				for _, event := range events {
					joint.Pass(nil, event)
				}
				results := []wire.Result{{Parts: []wire.Part{{Text: "result of our_1"}}}}
				if test.handed || !isLast {
					joint.Turn()
				}
				if !isLast {
					if _, err := joint.Continue(results); err != nil {
						t.Fatal(err)
					}
				} else if test.results {
					joint.Close(results)
				}
			}
			kept := map[string][]byte{}
			for _, keep := range joint.Kept() {
				for _, key := range keep.Keys {
					if kept[key] = keep.Turn; len(keep.Turn) == 0 {
						kept[key] = []byte("{}")
					}
				}
			}
			isStored := kept["conversation:conv_1"] != nil
			if isConversation := strings.Contains(asked, "conv_1"); isStored != (isConversation && !test.isUnknown) {
				t.Errorf("%s: kept %q", name, kept)
			}
			front := func(items string) string { return strings.Trim(test.want+","+items, ",") }
			for input, want := range map[string]string{
				`"more"`: front(`{"type":"message","role":"user","content":"more"}`), "[" + user + "]": front(user), "[]": front(""),
			} {
				for before, after := range map[string]string{`"previous_response_id":"resp_1"`: `"previous_response_id":"` + test.last + `"`, `"conversation":"conv_1"`: `"conversation":"conv_1"`} {
					if strings.Contains(before, "conv_1") && !isStored {
						continue
					}
					want := `{` + after + `,"input":[` + want + `]}`
					if test.want == "" {
						want = `{` + after + `,"input":` + input + `}`
					}
					if got := restored(t, `{`+before+`,"input":`+input+`}`, kept); got != want {
						t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
					}
				}
			}
		}
	}
}

// An answer that goes on with such a turn, and calls a tool itself, has both in its rounds, if the provider does not say that
// it has stored them.
func TestRestoredInFrontOfRounds(t *testing.T) {
	kept := playBoth(t, `{"input":"hi"}`, nil, answer{id: "resp_1", status: "incomplete", items: []string{ourCall(1)}}).kept()
	notRun := strings.Replace(outputOf("our_1"), "result of our_1", "Error: The call was not run.", 1)
	for input, want := range map[string]string{
		`,"input":"more"`:         notRun + `,{"type":"message","role":"user","content":"more"}`,
		`,"input":[` + user + `]`: notRun + "," + user,
		`,"input":[]`:             notRun,
		``:                        notRun,
	} {
		p := playBoth(t, `{"previous_response_id":"resp_1"`+input+`}`, kept, answer{items: []string{ourCall(2)}}, answer{items: []string{message(1)}})
		if want := `{"previous_response_id":"resp_1","input":[` + want + "," + ourCall(2) + "," + outputOf("our_2") + `]}`; p.requests[0] != want {
			t.Errorf("got\n%s\nwant\n%s", p.requests[0], want)
		}
	}
}

// TestKeptWithoutMemory has a turn whose results do not fit: that there are calls is kept all the same.
func TestKeptWithoutMemory(t *testing.T) {
	body := parseBody(t, `{"conversation":"conv_1"}`)
	joint := tooling().Join(wire.Joined{Body: body, IsOurs: isOurs, Memory: memory.New(64 << 10).Share()})
	joint.Begin(wire.Body)
	joint.Pass(nil, sse.Event{Data: answer{id: "resp_1", items: []string{ourCall(1)}}.body()})
	if _, err := joint.Continue([]wire.Result{{Parts: []wire.Part{{Text: strings.Repeat("x", 1<<20)}}}}); err == nil {
		t.Fatal("it fits")
	}
	kept := joint.Kept()[1]
	object := parseBody(t, `{"conversation":"conv_1","input":[]}`)
	got, err := jsonedit.Splice(object.Bytes(), tooling().Restore(object, map[string][]byte{"conversation:conv_1": kept.Turn})...)
	if want := `{"conversation":"conv_1","input":[{"type":"function_call_output","call_id":"our_1","output":"Error: The call may have run; its result is not known."}]}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
