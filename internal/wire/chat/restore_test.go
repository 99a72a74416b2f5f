package chat_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/chat"
)

// restored returns the messages of a request after what was kept has been put back.
func restored(t testing.TB, kept wire.ToKeep, messages string) string {
	t.Helper()
	body := parse(t, `{"messages":[`+messages+`]}`)
	all := map[string][]byte{}
	for _, key := range kept.Keys {
		all[key] = kept.Turn
	}
	got, err := jsonedit.Splice(body.Bytes(), chat.Format().Tooling.Restore(body, all)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(got), `{"messages":[`), `]}`)
}

// TestRestore has what clients make of their messages, and what is kept of others.
func TestRestore(t *testing.T) {
	x := exchange{t: t}
	x.run(wire.Stream, chunks("c1", `{"tool_calls":[{"index":0,"id":"call_0123456789abcdef1","function":{"name":"Read","arguments":"{\"a\":1}"}},`+
		`{"index":1,"id":"o1","function":{"name":"bmcp_a_x","arguments":"{}"}},{"index":2,"id":"call_0123456789abcdef2","function":{"name":"List","arguments":""}},`+
		`{"index":3,"id":"o2","function":{"name":"bmcp_a_x","arguments":"{}"}}]}`, `"tool_calls"`))
	ours := func(id string) string {
		return `{"id":"` + id + `","type":"function","function":{"name":"bmcp_a_x","arguments":"{}"}}`
	}
	const (
		t1      = `{"id":"call_0123456789abcdef1","function":{"name":"Read","arguments":"{ \"a\": 1 }"}}`
		t2      = `{"id":"call_0123456789abcdef2","function":{"name":"List","arguments":"{}"}}`
		begin   = `{"role":"assistant","tool_calls":[`
		end     = `]}`
		r1      = `{"role":"tool","tool_call_id":"call_0123456789abcdef1"}`
		r2      = `{"role":"tool","tool_call_id":"call_0123456789abcdef2"}`
		results = `,{"role":"tool","tool_call_id":"o1","content":"did bmcp_a_x{}"},{"role":"tool","tool_call_id":"o2","content":"did bmcp_a_x{}"}`
	)
	for name, test := range map[string]struct{ messages, want string }{
		"as it was": {
			begin + t1 + ", " + t2 + end + " , " + r1 + "," + r2,
			begin + t1 + ", " + ours("o1") + "," + t2 + "," + ours("o2") + end + results + " , " + r1 + "," + r2,
		},
		"one call left out":      {begin + t2 + end + "," + r2, begin + t2 + "," + ours("o1") + "," + ours("o2") + end + results + "," + r2},
		"no result":              {begin + t1 + end, begin + t1 + "," + ours("o1") + "," + ours("o2") + end + results},
		"another call":           {begin + `{"id":"call_0123456789abcdef1","function":{"name":"Read","arguments":"{\"a\":2}"}}` + end + "," + r1, ""},
		"another tool":           {begin + `{"id":"call_0123456789abcdef1","function":{"name":"Write","arguments":"{\"a\":1}"}}` + end + "," + r1, ""},
		"another id":             {begin + `{"id":"call_0123456789abcdef3","function":{"name":"Read","arguments":"{\"a\":1}"}}` + end, ""},
		"no calls":               {`{"role":"assistant","content":"x"},` + r1, ""},
		"a user's":               {`{"role":"user","tool_calls":[` + t1 + `]}`, ""},
		"malformed":              {`{"role":"assistant","role":"assistant","tool_calls":[` + t1 + `]},7,{"role":"assistant","tool_calls":7}`, ""},
		"ours are there already": {begin + t1 + "," + ours("o1") + end, ""},
		"the last of two": {
			begin + t1 + end + "," + r1 + "," + begin + t1 + end + "," + r1,
			begin + t1 + end + "," + r1 + "," + begin + t1 + "," + ours("o1") + "," + ours("o2") + end + results + "," + r1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.want == "" {
				test.want = test.messages
			}
			for range 10 {
				same(t, "the messages", restored(t, x.kept, test.messages), test.want)
			}
		})
	}
	for name, turn := range map[string]string{
		"no JSON":          `{`,
		"another shape":    `[]`,
		"nothing":          `{}`,
		"no result":        `{"rounds":[{"seen":1,"calls":[{"at":0,"call":{"id":"o1"}}]}],"checks":CHECKS}`,
		"another's result": `{"rounds":[{"seen":1,"calls":[{"at":0,"call":{"id":"o1"}}],"results":[{"role":"tool","tool_call_id":"o2"}]}],"checks":CHECKS}`,
		"no place":         `{"rounds":[{"seen":1,"calls":[{"at":-1,"call":{"id":"o1"}}],"results":[{"role":"tool","tool_call_id":"o1"}]}],"checks":CHECKS}`,
		"no id":            `{"rounds":[{"seen":1,"calls":[{"at":0,"call":{}}],"results":[{"role":"tool"}]}],"checks":CHECKS}`,
		"no check":         `{"rounds":[{"seen":1,"calls":[{"at":0,"call":{"id":"o1"}}],"results":[{"role":"tool","tool_call_id":"o1"}]}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			decoded, _ := wire.DecodeTurn(x.kept.Turn)
			const key = "chat:call_0123456789abcdef1"
			check := `{"` + key + `":"` + decoded.Checks[key] + `"}`
			messages := begin + t1 + end + "," + r1
			kept := wire.ToKeep{Keys: x.kept.Keys, Turn: []byte(strings.ReplaceAll(turn, "CHECKS", check))}
			same(t, "the messages", restored(t, kept, messages), messages)
		})
	}
}

// TestNothingKept has answers of which nothing needs to be kept. The keys of the client's calls are there, so that nobody is
// asked for them.
func TestNothingKept(t *testing.T) {
	ours := chunks("c1", `{"tool_calls":[{"index":0,"id":"o1","function":{"name":"bmcp_a_x","arguments":"{}"}}]}`, `"tool_calls"`)
	theirs := chunks("c1", `{"tool_calls":[{"index":0,"id":"call_0123456789abcdef1","function":{"name":"Read","arguments":"{}"}}]}`, `"tool_calls"`)
	for name, test := range map[string]struct {
		streams []string
		keys    []string
	}{
		"text":        {[]string{chunks("c1", `{"content":"a"}`, `"stop"`)}, nil},
		"theirs":      {[]string{theirs}, []string{"chat:call_0123456789abcdef1"}},
		"text at end": {[]string{ours, chunks("c1", `{"content":"a"}`, `"stop"`)}, nil},
		"no id":       {[]string{ours, chunks("c1", `{"tool_calls":[{"index":0,"function":{"name":"Read","arguments":"{}"}}]}`, `"tool_calls"`)}, nil},
	} {
		x := exchange{t: t}
		if x.run(wire.Stream, test.streams...); !slices.Equal(x.kept.Keys, test.keys) || x.kept.Turn != nil {
			t.Errorf("%s: kept %s %s", name, x.kept.Keys, x.kept.Turn)
		}
	}
}

// TestCountedIDs has servers that count the ids of calls, in conversations of one user side by side and in several turns of
// one: each turn gets its own calls and results back.
func TestCountedIDs(t *testing.T) {
	type conversation struct{ client, whole string }
	for _, ids := range [][2]string{{"functions.bmcp_a_x:0", "functions.Read:1"}, {"call_0", "call_1"}, {"0", "1"}, {"call_0123456789abcdef1", "call_1"}} {
		for _, form := range []wire.Form{wire.Stream, wire.Body} {
			kept := map[string][]byte{}
			both := map[string]*conversation{}
			for _, name := range []string{"a", "b"} {
				first := `{"role":"user","content":"` + name + `"}`
				both[name] = &conversation{first, first}
			}
			calls := []string{
				`{"id":"` + ids[0] + `","type":"function","function":{"name":"bmcp_a_x","arguments":"{}"}}`,
				`{"id":"` + ids[1] + `","type":"function","function":{"name":"Read","arguments":"{}"}}`,
			}
			check := func() {
				t.Helper()
				for _, c := range both {
					body := parse(t, `{"messages":[`+c.client+`]}`)
					got, err := jsonedit.Splice(body.Bytes(), chat.Format().Tooling.Restore(body, kept)...)
					if err != nil {
						t.Fatal(err)
					}
					same(t, "the messages", string(got), `{"messages":[`+c.whole+`]}`)
				}
			}
			for turn := range 3 {
				for name, c := range both {
					said := fmt.Sprint(name, turn)
					x := exchange{t: t, request: `{"model":"m","messages":[` + c.client + `]}`, results: func(wire.ToolCall) wire.Result {
						return wire.Result{Parts: []wire.Part{{Text: said}}}
					}}
					message := `{"content":null,"tool_calls":[` + calls[0] + `,` + calls[1] + `]}`
					answer := `{"choices":[{"message":` + message + `,"finish_reason":"tool_calls"}]}`
					if form == wire.Stream {
						answer = chunks("c1", message, `"tool_calls"`)
					}
					x.run(form, answer)
					for _, key := range x.kept.Keys {
						kept[key] = x.kept.Turn
					}
					result := `,{"role":"tool","tool_call_id":"` + ids[1] + `","content":"x"}`
					c.client += `,{"role":"assistant","tool_calls":[` + calls[1] + `]}` + result
					c.whole += `,{"role":"assistant","tool_calls":[` + calls[0] + `,` + calls[1] + `]},` +
						`{"role":"tool","tool_call_id":"` + ids[0] + `","content":"` + said + `"}` + result
					body := parse(t, `{"messages":[`+c.client+`]}`)
					if keys := chat.Format().Tooling.Keys(body, 1<<20); !slices.Equal(keys, x.kept.Keys) {
						t.Errorf("%v is kept, %v is asked for", x.kept.Keys, keys)
					}
				}
				check()
			}
		}
	}
}

// TestRestoreTwice has two answers in one conversation of which something was kept, and rounds after that.
func TestRestoreTwice(t *testing.T) {
	kept := map[string][]byte{}
	messages := `{"role":"user","content":"hi"}`
	want := messages
	for _, n := range []string{"1", "2"} {
		x := exchange{t: t}
		theirs := `{"id":"call_0123456789abcdef` + n + `","type":"function","function":{"name":"Read","arguments":"{}"}}`
		ours := `{"id":"o` + n + `","type":"function","function":{"name":"bmcp_a_x","arguments":"{}"}}`
		x.run(wire.Body, `{"choices":[{"message":{"role":"assistant","content":null,"tool_calls":[`+ours+`,`+theirs+`]}}]}`)
		kept[x.kept.Keys[0]] = x.kept.Turn
		result := `,{"role":"tool","tool_call_id":"call_0123456789abcdef` + n + `","content":"x"}`
		messages += `,{"role":"assistant","tool_calls":[` + theirs + `]}` + result
		want += `,{"role":"assistant","tool_calls":[` + ours + `,` + theirs + `]},` +
			`{"role":"tool","tool_call_id":"o` + n + `","content":"did bmcp_a_x{}"}` + result
	}
	format := chat.Format()
	body := parse(t, `{"messages":[`+messages+`]}`)
	edits := format.Tooling.Restore(body, kept)
	got, err := jsonedit.Splice(body.Bytes(), edits...)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the messages", string(got), `{"messages":[`+want+`]}`)

	joint := format.Tooling.Join(wire.Joined{Body: body, Request: &wire.Request{}, Restored: edits, IsOurs: isOurs})
	for _, id := range []string{"o3", "o4"} {
		joint.Begin(wire.Body)
		call := `{"id":"` + id + `","type":"function","function":{"name":"bmcp_a_x","arguments":"{}"}}`
		joint.Pass(nil, sse.Event{Data: []byte(`{"choices":[{"message":{"tool_calls":[` + call + `]}}]}`)})
		joint.Turn()
		if edits, err = joint.Continue(make([]wire.Result, 1)); err != nil {
			t.Fatal(err)
		}
		want += `,{"role":"assistant","content":null,"tool_calls":[` + call + `]},{"role":"tool","tool_call_id":"` + id + `","content":""}`
	}
	if got, err = jsonedit.Splice(body.Bytes(), edits...); err != nil {
		t.Fatal(err)
	}
	same(t, "the rounds", string(got), `{"messages":[`+want+`]}`)
}
