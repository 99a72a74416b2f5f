package responses_test

import (
	"bytes"
	"fmt"
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

func TestKeys(t *testing.T) {
	body := `{"previous_response_id":"resp_1","input":[` + outputOf("a") + "," + message(1) + "," + outputOf("b") + "," + user +
		`,{"type":"custom_tool_call_output","call_id":"c"},{"type":"mcp_approval_response","approval_request_id":"d"},` + outputOf("b") + `]}`
	for whole, want := range map[bool]string{
		false: "response:resp_1 responses:b responses:d responses:c",
		true:  "response:resp_1 responses:b responses:d responses:c responses:a",
	} {
		if got := strings.Join(tooling().Keys(parseBody(t, body), whole), " "); got != want {
			t.Errorf("whole %v: got %s, want %s", whole, got, want)
		}
	}
	for _, none := range []string{`{}`, `{"input":"x"}`, `{"input":[` + outputOf("a") + `,` + theirCall(1) + `]}`, `{"previous_response_id":7}`} {
		if got := tooling().Keys(parseBody(t, none), false); len(got) > 0 {
			t.Errorf("%s: got %v", none, got)
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
	other := []string{outputOf("their_1"), outputOf("their_2"), user}
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
			[]string{user, reasoning(8), message(1), theirCall(9), outputOf("their_9"), message(1), theirCall(1), theirCall(2)},
			[]string{user, reasoning(8), message(1), theirCall(9), outputOf("their_9"), withoutID(ourCall(1)), message(1), outputOf("our_1"), theirCall(1), withoutID(ourCall(2)), theirCall(2), outputOf("our_2")},
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
	if whole := tooling().Keys(parseBody(t, inputOf(user, reasoning(1), reasoning(2), message(2), user)), true); len(whole) != 2 || p.kept()[whole[0]] == nil {
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

// Some servers give the same id to many calls. What was kept of each is found by the ids of the answers, too.
func TestRestoreSameIDs(t *testing.T) {
	weak := func(n int) string { return strings.Replace(theirCall(n), fmt.Sprintf("their_%d", n), "call_0", 1) }
	kept := playBoth(t, asked, nil, answer{id: "resp_1", items: []string{ourCall(1), weak(1)}}).kept()
	for key, turn := range playBoth(t, asked, nil, answer{id: "resp_2", items: []string{ourCall(2), weak(2)}}).kept() {
		kept[key] = turn
	}
	result := outputOf("call_0")
	got := restored(t, inputOf(user, weak(1), result, weak(2), result, weak(3), result), kept)
	want := inputOf(user, withoutID(ourCall(1)), weak(1), outputOf("our_1"), result, withoutID(ourCall(2)), weak(2), outputOf("our_2"), result, weak(3), result)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A client of stored answers refers to items instead of sending them.
func TestRestoreReferences(t *testing.T) {
	kept := rounds(t).kept()
	to := func(id string) string { return `{"type":"item_reference","id":"` + id + `"}` }
	got := restored(t, inputOf(user, to("rs_1"), to("msg_1"), to("rs_2"), to("fc_c1"), to("fc_c2"), outputOf("their_1"), outputOf("their_2")), kept)
	want := inputOf(user, to("rs_1"), to("fc_1"), to("msg_1"), outputOf("our_1"), to("rs_2"), to("fc_c1"), to("fc_2"), to("fc_c2"), outputOf("our_2"), outputOf("their_1"), outputOf("their_2"))
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got = restored(t, inputOf(user, to("rs_1"), to("rs_2"), theirCall(1), outputOf("their_1")), kept)
	want = inputOf(user, to("rs_1"), to("fc_1"), outputOf("our_1"), to("rs_2"), theirCall(1), to("fc_2"), outputOf("our_2"), outputOf("their_1"))
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	request := inputOf(user, to("rs_8"), to("fc_8"), outputOf("their_1"))
	if got := restored(t, request, kept); got != request {
		t.Errorf("got\n%s\nwant\n%s", got, request)
	}
}

func TestRestoreNothing(t *testing.T) {
	p := rounds(t)
	kept := p.kept()
	weak := strings.Replace(theirCall(1), `\"n\":1`, `\"n\":7`, 1)
	for name, request := range map[string]string{
		"another call with the same id":  inputOf(user, weak, outputOf("their_1")),
		"another tool with the same id":  inputOf(user, strings.Replace(theirCall(1), "shell", "read", 1), outputOf("their_1")),
		"only the result, not chained":   inputOf(user, outputOf("their_1")),
		"the calls are already there":    inputOf(user, ourCall(1), outputOf("our_1"), theirCall(1), outputOf("their_1")),
		"nothing of it":                  inputOf(user),
		"input a string":                 `{"model":"m","input":"their_1"}`,
		"chained to another answer":      `{"previous_response_id":"resp_9","input":[` + outputOf("their_1") + `]}`,
		"chained to the last round's id": `{"previous_response_id":"resp_2","input":[` + user + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got := restored(t, request, kept); got != request {
				t.Errorf("got\n%s\nwant\n%s", got, request)
			}
		})
	}
	request := inputOf(user, theirCall(1), outputOf("their_1"))
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
			if got := restored(t, request, map[string][]byte{"responses:their_1": []byte(encoded)}); got != request {
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
		got := restored(t, chain("resp_1", outputOf("their_1"), outputOf("their_2"), user), kept)
		if want := chain("resp_2", outputOf("our_2"), outputOf("their_1"), outputOf("their_2"), user); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("one round", func(t *testing.T) {
		kept := playBoth(t, asked, nil, answer{id: "resp_1", store: "true", items: []string{ourCall(1), theirCall(1)}}).kept()
		got := restored(t, chain("resp_1", outputOf("their_1")), kept)
		if want := chain("resp_1", outputOf("our_1"), outputOf("their_1")); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("too large to be kept whole", func(t *testing.T) {
		for _, encoded := range [][]byte{wire.WithoutRounds(rounds(t).keep.Turn), []byte(`{"last":"resp_2","checks":{"their_1":"x"}}`)} {
			kept := map[string][]byte{"response:resp_1": encoded, "responses:their_1": encoded}
			if got, want := restored(t, chain("resp_1", outputOf("their_1")), kept), chain("resp_2", outputOf("their_1")); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if request := inputOf(user, theirCall(1), outputOf("their_1")); restored(t, request, kept) != request {
				t.Errorf("got %s", restored(t, request, kept))
			}
			if request := `{"conversation":"c","input":[` + outputOf("their_1") + `]}`; restored(t, request, kept) != request {
				t.Errorf("got %s", restored(t, request, kept))
			}
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
		if got, want := restored(t, chain("resp_1", outputOf("their_1")), kept), chain("resp_2", outputOf("their_1")); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("conversation", func(t *testing.T) {
		kept := rounds(t).kept()
		got := restored(t, `{"conversation":"conv_1","input":[`+outputOf("their_2")+`]}`, kept)
		if want := `{"conversation":"conv_1","input":[` + outputOf("our_2") + "," + outputOf("their_2") + `]}`; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// A conversation with several such turns gets all of them back, and its beginning stays as it was sent before.
func TestRestoreLongConversation(t *testing.T) {
	kept := rounds(t).kept()
	first := []string{user, reasoning(1), message(1), reasoning(2), theirCall(1), theirCall(2), outputOf("their_1"), outputOf("their_2")}
	before := restored(t, inputOf(first...), kept)
	again := playBoth(t, inputOf(first...), kept, answer{id: "resp_3", items: []string{ourCall(5), `{"type":"custom_tool_call","id":"ctc_1","call_id":"their_5","name":"apply_patch","input":"x"}`}})
	for key, turn := range again.kept() {
		kept[key] = turn
	}
	call := `{"type":"custom_tool_call","call_id":"their_5","name":"apply_patch","input":"x"}`
	result := `{"type":"custom_tool_call_output","call_id":"their_5","output":"y"}`
	got := restored(t, inputOf(slices.Concat(first, []string{call, result})...), kept)
	want := strings.TrimSuffix(before, `],"tools":[]}`) + "," + strings.Join([]string{withoutID(ourCall(5)), call, outputOf("our_5"), result}, ",") + `],"tools":[]}`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
