package responses_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

const user = `{"role":"user","content":"hi"}`

func inputOf(items ...string) string {
	return `{"model":"m","input":[` + strings.Join(items, ",") + `],"tools":[]}`
}

// restored returns the request with what was kept put back, and checks that it is well formed.
func restored(t testing.TB, request string, kept map[string][]byte) string {
	t.Helper()
	var got []string
	for range 2 {
		object := parseBody(t, request)
		body, err := jsonedit.Splice(object.Bytes(), tooling().Restore(object, kept)...)
		if err != nil {
			t.Fatalf("%v: %s", err, request)
		}
		got = append(got, string(body))
	}
	if got[0] != got[1] {
		t.Errorf("restored once\n%s\nand again\n%s", got[0], got[1])
	}
	parseBody(t, got[0])
	return got[0]
}

// TestKeys has calls whose ids are their own, and others, which only their place tells.
func TestKeys(t *testing.T) {
	call := func(id string) string { return `{"type":"function_call","call_id":"` + id + `","name":"n"}` }
	at := func(id string, index int) string {
		return wire.CallKey("responses", id, "n", wire.Place{Opening: func() string { return "hi" }, Index: index})
	}
	const a, b, c = "call_0123456789abcdef_a", "call_0123456789abcdef_b", "call_0123456789abcdef_c"
	approval := `{"type":"mcp_approval_request","id":"d","name":"n"}`
	for name, test := range map[string]struct {
		input       []string
		chain       string
		last, whole []string
	}{
		"own ids":               {[]string{user, call(a), outputOf(a), message(1), call(b), call(c), outputOf(b), user}, "", []string{"responses:" + b, "responses:" + c}, []string{"responses:" + a, "responses:" + b, "responses:" + c}},
		"weak ids":              {[]string{user, message(1), call("1"), outputOf("1"), call("1"), approval, outputOf("1")}, "", []string{at("1", 4), at("d", 4)}, []string{at("1", 1), at("1", 4), at("d", 4)}},
		"results alone":         {[]string{user, outputOf(a), outputOf("1"), `{"type":"custom_tool_call_output","call_id":"` + b + `"}`}, "", []string{"responses:" + a, "responses:" + b}, []string{"responses:" + a, "responses:" + b}},
		"an answer goes on":     {[]string{outputOf(a), outputOf("1")}, `"previous_response_id":"resp_1",`, []string{"response:resp_1"}, []string{"response:resp_1"}},
		"a conversation":        {[]string{outputOf(a)}, `"conversation":"conv_1",`, []string{"conversation:conv_1"}, []string{"conversation:conv_1"}},
		"a conversation object": {[]string{user}, `"conversation":{"id":"conv_1"},`, []string{"conversation:conv_1"}, []string{"conversation:conv_1"}},
		"none":                  {[]string{user}, `"previous_response_id":7,"conversation":null,`, nil, nil},
	} {
		body := parseBody(t, strings.Replace(inputOf(test.input...), `{`, `{`+test.chain, 1))
		for from, want := range map[int][]string{1 << 20: test.last, 0: test.whole} {
			got := slices.DeleteFunc(tooling().Keys(body, from), func(key string) bool { return strings.Contains(key, "=") }) // The second ones, by what is said.
			if !slices.Equal(got, want) {
				t.Errorf("%s, from %d: got %q, want %q", name, from, got, want)
			}
		}
		if got := tooling().Chain(body); test.chain == "" && got != nil || len(got) > 0 && got[0] != test.last[0] {
			t.Errorf("%s: the chain is %q", name, got)
		}
	}
}

// rounds is a conversation in which the gateway's tools were called in two rounds, and the client's in the second.
func rounds(t testing.TB) played {
	return playBoth(t, asked, nil,
		answer{id: "resp_1", items: []string{reasoning(1), ourCall(1), message(1)}},
		answer{id: "resp_2", items: []string{reasoning(2), theirCall(1), ourCall(2), theirCall(2)}},
	)
}

func withoutID(item string) string {
	return strings.Replace(item, `"id":`+gjson.Get(item, "id").Raw+`,`, "", 1)
}

func TestRestore(t *testing.T) {
	kept := rounds(t).kept()
	other := []string{outputOf("their0123456789_1"), outputOf("their0123456789_2"), user}
	bare := []string{withoutID(theirCall(1)), withoutID(theirCall(2))}
	hiddenReasoning := strings.Replace(reasoning(1), `"id":"rs_1",`, "", 1)
	for name, test := range map[string]struct{ sent, want []string }{
		"all that it saw": {
			[]string{user, reasoning(1), message(1), reasoning(2), theirCall(1), theirCall(2)},
			[]string{user, reasoning(1), ourCall(1), message(1), outputOf("our_1"), reasoning(2), theirCall(1), ourCall(2), theirCall(2), outputOf("our_2")},
		},
		"only the calls": {
			[]string{user, bare[0], bare[1]},
			[]string{user, withoutID(ourCall(1)), outputOf("our_1"), bare[0], withoutID(ourCall(2)), bare[1], outputOf("our_2")},
		},
		"only one call": {
			[]string{user, bare[0]},
			[]string{user, withoutID(ourCall(1)), outputOf("our_1"), bare[0], withoutID(ourCall(2)), outputOf("our_2")},
		},
		"reasoning without its id": {
			[]string{user, hiddenReasoning, bare[0], bare[1]},
			[]string{user, hiddenReasoning, withoutID(ourCall(1)), outputOf("our_1"), bare[0], withoutID(ourCall(2)), bare[1], outputOf("our_2")},
		},
		"only the first reasoning": {
			[]string{user, reasoning(1), theirCall(1), theirCall(2)},
			[]string{user, reasoning(1), ourCall(1), outputOf("our_1"), theirCall(1), withoutID(ourCall(2)), theirCall(2), outputOf("our_2")},
		},
		"only the second reasoning": {
			[]string{user, reasoning(2), theirCall(1), theirCall(2)},
			[]string{user, withoutID(ourCall(1)), outputOf("our_1"), reasoning(2), theirCall(1), ourCall(2), theirCall(2), outputOf("our_2")},
		},
		"an earlier turn of the same form": {
			[]string{user, reasoning(8), message(1), theirCall(9), outputOf("their0123456789_9"), message(1), theirCall(1), theirCall(2)},
			[]string{user, reasoning(8), message(1), theirCall(9), outputOf("their0123456789_9"), withoutID(ourCall(1)), message(1), outputOf("our_1"), theirCall(1), withoutID(ourCall(2)), theirCall(2), outputOf("our_2")},
		},
		"arguments written anew": {
			[]string{user, strings.Replace(bare[0], `{\"n\":1}`, `{ \"n\": 1 }`, 1)},
			[]string{user, withoutID(ourCall(1)), outputOf("our_1"), strings.Replace(bare[0], `{\"n\":1}`, `{ \"n\": 1 }`, 1), withoutID(ourCall(2)), outputOf("our_2")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := restored(t, inputOf(slices.Concat(test.sent, other)...), kept)
			if want := inputOf(slices.Concat(test.want, other)...); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
	t.Run("results between the calls", func(t *testing.T) {
		got := restored(t, inputOf(user, bare[0], other[0], bare[1], other[1]), kept)
		want := inputOf(user, withoutID(ourCall(1)), outputOf("our_1"), bare[0], other[0], withoutID(ourCall(2)), bare[1], outputOf("our_2"), other[1])
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// A client that has only seen the final text, and sends the reasoning, sends reasoning that calls must follow.
func TestRestoreText(t *testing.T) {
	p := playBoth(t, asked, nil, answer{id: "resp_1", items: []string{reasoning(1), ourCall(1)}}, answer{id: "resp_2", items: []string{reasoning(2), message(2)}})
	if whole := tooling().Keys(parseBody(t, inputOf(user, reasoning(1), reasoning(2), message(2), user)), 0); len(whole) != 2 || p.kept()[whole[1]] == nil {
		t.Errorf("kept under %v, looked for under %v", p.keep.Keys, whole)
	}
	for name, test := range map[string]struct{ sent, want []string }{
		"all":          {[]string{reasoning(1), reasoning(2), message(2)}, []string{reasoning(1), ourCall(1), outputOf("our_1"), reasoning(2), message(2)}},
		"only the 1st": {[]string{reasoning(1), message(2)}, []string{reasoning(1), ourCall(1), outputOf("our_1"), message(2)}},
		"only the 2nd": {[]string{reasoning(2), message(2)}, []string{withoutID(ourCall(1)), outputOf("our_1"), reasoning(2), message(2)}},
		"only text":    {[]string{message(2)}, []string{message(2)}},
		"another":      {[]string{reasoning(7), message(2)}, []string{reasoning(7), message(2)}},
	} {
		t.Run(name, func(t *testing.T) {
			got := restored(t, inputOf(slices.Concat([]string{user}, test.sent, []string{user})...), p.kept())
			if want := inputOf(slices.Concat([]string{user}, test.want, []string{user})...); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Some servers give the same ids in each turn, whoever's the calls are. Then a turn is found by its place in its conversation.
func TestRestoreSameIDs(t *testing.T) {
	item := func(name, id, arguments string) string {
		return `{"type":"function_call","call_id":"` + id + `","name":"` + name + `","arguments":"` + arguments + `"}`
	}
	for name, id := range map[string]struct{ ours, theirs []string }{
		"the same in each turn":    {[]string{"functions.bmcp_t:0", "functions.bmcp_t:0", "functions.bmcp_t:0"}, []string{"functions.mine:1", "functions.mine:1", "functions.mine:1"}},
		"ours and theirs by turns": {[]string{"call_0", "call_1", "call_0"}, []string{"call_1", "call_0", "call_1"}},
	} {
		kept := map[string][]byte{}
		sent, want := []string{user}, []string{user}
		for n := range 3 {
			ours, theirs := item("bmcp_t", id.ours[n], fmt.Sprint(n)), item("mine", id.theirs[n], "")
			p := playBoth(t, inputOf(sent...), kept, answer{id: fmt.Sprintf("resp_%d", n), items: []string{ours, theirs}})
			maps.Copy(kept, p.kept())
			sent = append(sent, theirs, outputOf(id.theirs[n]))
			want = append(want, ours, theirs, outputOf(id.ours[n]), outputOf(id.theirs[n]))
			if got := restored(t, inputOf(sent...), kept); got != inputOf(want...) {
				t.Errorf("%s: got\n%s\nwant\n%s", name, got, inputOf(want...))
			}
		}
		other := strings.Replace(inputOf(sent...), `"hi"`, `"hello"`, 1)
		if got := restored(t, other, kept); got != other {
			t.Errorf("%s: another conversation became\n%s", name, got)
		}
	}
}

// A client of stored answers refers to items instead of sending them.
func TestRestoreReferences(t *testing.T) {
	kept := rounds(t).kept()
	to := func(id string) string { return `{"type":"item_reference","id":"` + id + `"}` }
	got := restored(t, inputOf(user, to("rs_1"), to("msg_1"), to("rs_2"), to("fc_c1"), to("fc_c2"), outputOf("their0123456789_1"), outputOf("their0123456789_2")), kept)
	want := inputOf(user, to("rs_1"), to("fc_1"), to("msg_1"), outputOf("our_1"), to("rs_2"), to("fc_c1"), to("fc_2"), to("fc_c2"), outputOf("our_2"), outputOf("their0123456789_1"), outputOf("their0123456789_2"))
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got = restored(t, inputOf(user, to("rs_1"), to("rs_2"), theirCall(1), outputOf("their0123456789_1")), kept)
	want = inputOf(user, to("rs_1"), to("fc_1"), outputOf("our_1"), to("rs_2"), theirCall(1), to("fc_2"), outputOf("our_2"), outputOf("their0123456789_1"))
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	request := inputOf(user, to("rs_8"), to("fc_8"), outputOf("their0123456789_1"))
	if got := restored(t, request, kept); got != request {
		t.Errorf("got\n%s\nwant\n%s", got, request)
	}
}

func TestRestoreNothing(t *testing.T) {
	p := rounds(t)
	kept := p.kept()
	weak := strings.Replace(theirCall(1), `\"n\":1`, `\"n\":7`, 1)
	for name, request := range map[string]string{
		"another call with the same id":  inputOf(user, weak, outputOf("their0123456789_1")),
		"another tool with the same id":  inputOf(user, strings.Replace(theirCall(1), "shell", "read", 1), outputOf("their0123456789_1")),
		"only the result, not chained":   inputOf(user, outputOf("their0123456789_1")),
		"the calls are already there":    inputOf(user, ourCall(1), outputOf("our_1"), theirCall(1), outputOf("their0123456789_1")),
		"nothing of it":                  inputOf(user),
		"input a string":                 `{"model":"m","input":"their0123456789_1"}`,
		"chained to another answer":      `{"previous_response_id":"resp_9","input":[` + outputOf("their0123456789_1") + `]}`,
		"chained to the last round's id": `{"previous_response_id":"resp_2","input":[` + user + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got := restored(t, request, kept); got != request {
				t.Errorf("got\n%s\nwant\n%s", got, request)
			}
		})
	}
	request := inputOf(user, theirCall(1), outputOf("their0123456789_1"))
	turn, _ := wire.DecodeTurn(p.keep.Turn)
	missing := turn
	missing.Rounds = []wire.KeptRound{{Seen: 0, Calls: turn.Rounds[0].Calls}}
	otherID := turn
	otherID.Rounds = []wire.KeptRound{{Calls: turn.Rounds[0].Calls, Results: turn.Rounds[1].Results}}
	badSeen := turn
	badSeen.Rounds = []wire.KeptRound{{Seen: 5, Calls: turn.Rounds[0].Calls, Results: turn.Rounds[0].Results}}
	noCall, _ := wire.DecodeTurn(p.keep.Turn)
	for _, round := range noCall.Rounds {
		for n := range round.Calls {
			round.Calls[n].Call = bytes.ReplaceAll(round.Calls[n].Call, []byte("function_call"), []byte("reasoning"))
		}
	}
	for name, encoded := range map[string]string{
		"empty": ``, "no JSON": `{`, "another type": `[]`, "nothing": `{}`, "rounds of another type": `{"rounds":7}`,
		"no result": string(missing.Encode()), "result of another call": string(otherID.Encode()), "seen more than it says": string(badSeen.Encode()),
		"a call that is none": string(noCall.Encode()),
	} {
		t.Run(name, func(t *testing.T) {
			if got := restored(t, request, map[string][]byte{"responses:their0123456789_1": []byte(encoded)}); got != request {
				t.Errorf("got\n%s\nwant\n%s", got, request)
			}
		})
	}
}

func TestRestoreChain(t *testing.T) {
	chain := func(id string, items ...string) string {
		return fmt.Sprintf(`{"model":"m","previous_response_id":"%s","input":[%s]}`, id, strings.Join(items, ","))
	}
	t.Run("rounds", func(t *testing.T) {
		kept := rounds(t).kept()
		got := restored(t, chain("resp_1", outputOf("their0123456789_1"), outputOf("their0123456789_2"), user), kept)
		if want := chain("resp_2", outputOf("our_2"), outputOf("their0123456789_1"), outputOf("their0123456789_2"), user); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("one round", func(t *testing.T) {
		kept := playBoth(t, asked, nil, answer{id: "resp_1", store: "true", items: []string{ourCall(1), theirCall(1)}}).kept()
		got := restored(t, chain("resp_1", outputOf("their0123456789_1")), kept)
		if want := chain("resp_1", outputOf("our_1"), outputOf("their0123456789_1")); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("too large to be kept whole", func(t *testing.T) {
		encoded := wire.WithoutRounds(rounds(t).keep.Turn)
		kept := map[string][]byte{"response:resp_1": encoded, "conversation:c": encoded, "responses:their0123456789_1": encoded}
		lost := `{"type":"function_call_output","call_id":"our_2","output":"Error: The call may have run; its result is not known."}`
		if got, want := restored(t, chain("resp_1", outputOf("their0123456789_1")), kept), chain("resp_2", lost, outputOf("their0123456789_1")); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if request := inputOf(user, theirCall(1), outputOf("their0123456789_1")); restored(t, request, kept) != request {
			t.Errorf("got %s", restored(t, request, kept))
		}
		if got, want := restored(t, `{"conversation":"c","input":[`+user+`]}`, kept), `{"conversation":"c","input":[`+lost+`,`+user+`]}`; got != want {
			t.Errorf("got %s", got)
		}
	})
	t.Run("no call of the client's", func(t *testing.T) {
		kept := playBoth(t, asked, nil, answer{id: "resp_1", store: "true", items: []string{ourCall(1)}}, answer{id: "resp_2", items: []string{message(1)}}).kept()
		if got, want := restored(t, chain("resp_1", user), kept), chain("resp_2", user); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if len(kept) != 1 || kept["response:resp_1"] == nil {
			t.Errorf("kept %v", kept)
		}
	})
	t.Run("the client's call in a later round", func(t *testing.T) {
		kept := playBoth(t, asked, nil, answer{id: "resp_1", items: []string{ourCall(1)}}, answer{id: "resp_2", items: []string{theirCall(1)}}).kept()
		if got, want := restored(t, chain("resp_1", outputOf("their0123456789_1")), kept), chain("resp_2", outputOf("their0123456789_1")); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("conversation", func(t *testing.T) {
		asked := `{"conversation":{"id":"conv_1"},"input":"hi"}`
		kept := playBoth(t, asked, nil, answer{id: "resp_1", items: []string{ourCall(1)}}, answer{id: "resp_2", items: []string{theirCall(2), ourCall(2)}}).kept()
		got := restored(t, `{"conversation":"conv_1","input":[`+outputOf("their0123456789_2")+`]}`, kept)
		if want := `{"conversation":"conv_1","input":[` + outputOf("our_2") + "," + outputOf("their0123456789_2") + `]}`; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// A conversation with several such turns gets all of them back, and its beginning stays as it was sent before.
func TestRestoreLongConversation(t *testing.T) {
	kept := rounds(t).kept()
	first := []string{user, reasoning(1), message(1), reasoning(2), theirCall(1), theirCall(2), outputOf("their0123456789_1"), outputOf("their0123456789_2")}
	before := restored(t, inputOf(first...), kept)
	again := playBoth(t, inputOf(first...), kept, answer{id: "resp_3", items: []string{ourCall(5), `{"type":"custom_tool_call","id":"ctc_1","call_id":"their0123456789_5","name":"apply_patch","input":"x"}`}})
	for key, turn := range again.kept() {
		kept[key] = turn
	}
	call := `{"type":"custom_tool_call","call_id":"their0123456789_5","name":"apply_patch","input":"x"}`
	result := `{"type":"custom_tool_call_output","call_id":"their0123456789_5","output":"y"}`
	got := restored(t, inputOf(slices.Concat(first, []string{call, result})...), kept)
	want := strings.TrimSuffix(before, `],"tools":[]}`) + "," + strings.Join([]string{withoutID(ourCall(5)), call, outputOf("our_5"), result}, ",") + `],"tools":[]}`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
