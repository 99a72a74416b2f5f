package messages_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/messages"
)

// conversation is one of a client and a model, through the gateway. It goes on with what the client sends again.
type conversation struct {
	t       *testing.T
	kept    map[string][]byte // What is kept of all conversations of the user, by its keys.
	client  []string          // The messages as the client has them.
	whole   []string          // The same as the upstream is to have them.
	form    wire.Form
	members string // The client's other members.
}

func list(values []string) string { return strings.Join(values, ",") }

func (c *conversation) body() string {
	return `{"model":"m",` + c.members + `"messages":[` + list(c.client) + `],"tools":[{"name":"theirs"}]}`
}

// restored returns what the upstream is sent. It fails the test if that is not what the upstream had before, or if what is
// kept of the last answer would not be asked for.
func (c *conversation) restored() string {
	c.t.Helper()
	body := parse(c.t, c.body())
	got, err := jsonedit.Splice(body.Bytes(), messages.Format().Tooling.Restore(body, c.kept)...)
	want := strings.Replace(c.body(), list(c.client), list(c.whole), 1)
	if err != nil || string(got) != want {
		c.t.Fatalf("%v, got\n%s\nwant\n%s", err, got, want)
	}
	return want
}

// round is what a model makes in one round: blocks, of which those that call a tool of the gateway have bmcp_ in them.
type round []string

// blocks returns the blocks of the gateway's calls, and those that the client sees.
func (r round) blocks() (ours, theirs []string) {
	for _, block := range r {
		if strings.Contains(block, "bmcp_") {
			ours = append(ours, block)
		} else {
			theirs = append(theirs, block)
		}
	}
	return ours, theirs
}

func block(kind string, members string, args ...any) string {
	return `{"type":"` + kind + `",` + fmt.Sprintf(members, args...) + `}`
}

func textBlock(text string) string { return block("text", `"text":%q`, text) }
func thought(text, signature string) string {
	return block("thinking", `"thinking":%q,"signature":%q`, text, signature)
}
func callBlock(id, name, input string) string {
	return block("tool_use", `"id":%q,"name":%q,"input":%s`, id, name, input)
}

// idOf returns the id of a call, written as in a result.
func idOf(call string) string {
	_, id, _ := strings.Cut(call, `"id":`)
	id, _, _ = strings.Cut(id, ",")
	return `"tool_use_id":` + id
}

// answerOf returns an answer of blocks, as a stream, or as a body.
func answerOf(form wire.Form, id string, blocks []string) string {
	stop := "end_turn"
	if strings.Contains(list(blocks), "tool_use") {
		stop = "tool_use"
	}
	if form == wire.Body {
		return fmt.Sprintf(`{"id":%q,"type":"message","role":"assistant","content":[%s],"stop_reason":%q,"usage":{}}`, id, list(blocks), stop)
	}
	parts := []any{start(id, 1)}
	for i, block := range blocks {
		parts = append(parts, fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":%s}`, i, block),
			fmt.Sprintf(`{"type":"content_block_stop","index":%d}`, i))
	}
	return stream(append(parts, end(stop, 1))...)
}

// answer lets the model answer in these rounds, and the client take the answer, with results of its calls. It returns what is
// kept.
func (c *conversation) answer(result string, rounds ...round) []wire.ToKeep {
	c.t.Helper()
	before := c.body()
	restored := c.restored()
	format, object := messages.Format(), parse(c.t, before)
	inspected, err := format.Inspect(object)
	if err != nil {
		c.t.Fatal(err)
	}
	j := format.Tooling.Join(wire.Joined{
		Body: object, Request: &inspected, IsOurs: isOurs, Restored: format.Tooling.Restore(object, c.kept),
	})
	var seen, results []string
	for n, of := range rounds {
		if answer := answerOf(c.form, fmt.Sprint("msg_", n), of); c.form == wire.Stream {
			pass(j, answer, 100)
		} else {
			j.Begin(c.form)
			j.Pass(nil, eventOf(answer))
		}
		ours, theirs := of.blocks()
		turn := j.Turn()
		if len(turn.Calls) != len(ours) {
			c.t.Fatalf("round %d wants %+v", n, turn)
		}
		results = nil
		var given []wire.Result
		for i, call := range ours {
			text := fmt.Sprint(result, " ", n, " ", i)
			given = append(given, said(text)...)
			results = append(results, `{"type":"tool_result",`+idOf(call)+`,"content":[{"type":"text","text":"`+text+`"}]}`)
		}
		seen = append(seen, theirs...)
		switch {
		case turn.Mixed:
			j.Close(given)
		case len(ours) > 0:
			edits, err := j.Continue(given)
			if err != nil {
				c.t.Fatal(err)
			}
			next, err := jsonedit.Splice([]byte(before), edits...)
			if err != nil {
				c.t.Fatal(err)
			}
			restored = strings.TrimSuffix(restored, `],"tools":[{"name":"theirs"}]}`) + `,{"role":"assistant","content":[` + list(of) +
				`]},{"role":"user","content":[` + list(results) + `]}],"tools":[{"name":"theirs"}]}`
			if string(next) != restored {
				c.t.Fatalf("round %d has\n%s\nwant\n%s", n+1, next, restored)
			}
		}
		c.whole = append(c.whole, `{"role":"assistant","content":[`+list(of)+`]}`)
		if n < len(rounds)-1 {
			c.whole = append(c.whole, `{"role":"user","content":[`+list(results)+`]}`)
		}
	}
	c.client = append(c.client, `{"role":"assistant","content":[`+list(seen)+`]}`)
	var answers []string
	for _, block := range seen {
		if strings.Contains(block, `"tool_use"`) {
			answers = append(answers, `{"type":"tool_result",`+idOf(block)+`,"content":"theirs"}`)
		}
	}
	if answers == nil {
		results, answers = nil, []string{`{"type":"text","text":"and?"}`}
	}
	c.client = append(c.client, `{"role":"user","content":[`+list(answers)+`]}`)
	c.whole = append(c.whole, `{"role":"user","content":[`+list(slices.Concat(results, answers))+`]}`)
	kept := j.Kept()
	for _, keep := range kept {
		for _, key := range keep.Keys {
			c.kept[key] = keep.Turn
		}
	}
	for _, whole := range []bool{false, true} {
		asked := format.Tooling.Keys(parse(c.t, c.body()), whole)
		for _, key := range asked {
			if _, known := c.kept[key]; !known {
				c.t.Errorf("%s is asked for, whole %t: kept is %v", key, whole, kept)
			}
		}
		for _, keep := range kept {
			if !slices.ContainsFunc(asked, func(key string) bool { return slices.Contains(keep.Keys, key) }) {
				c.t.Errorf("%v is kept, %v is asked for, whole %t", keep.Keys, asked, whole)
			}
		}
	}
	return kept
}

func begun(t *testing.T, kept map[string][]byte, form wire.Form, text string) *conversation {
	first := `{"role":"user","content":"` + text + `"}`
	return &conversation{t: t, kept: kept, form: form, client: []string{first}, whole: []string{first}}
}

// TestCountedIDs has servers that count the ids of calls, in conversations of one user side by side and in several turns of
// one: each turn gets its own calls and results back.
func TestCountedIDs(t *testing.T) {
	for _, ids := range [][2]string{
		{"functions.bmcp_x_y:0", "functions.theirs:1"}, {"call_0", "call_1"}, {"0", "1"}, {"toolu_bmcp_x_y_1", "toolu_theirs_1"},
		{"toolu_01A09q90qw90lq917835lq9", "call_1"},
	} {
		for _, form := range []wire.Form{wire.Stream, wire.Body} {
			kept := map[string][]byte{}
			a, b := begun(t, kept, form, "a"), begun(t, kept, form, "b")
			ours, theirs := callBlock(ids[0], "bmcp_x_y", `{}`), callBlock(ids[1], "theirs", `{"a":1}`)
			for turn := range 3 {
				a.answer(fmt.Sprint("a", turn), round{ours, theirs})
				b.answer(fmt.Sprint("b", turn), round{ours}, round{textBlock("Now."), ours, theirs})
				a.restored()
				b.restored()
			}
			a.answer("a", round{theirs})
			a.answer("a", round{ours, theirs})
			a.restored()
		}
	}
}

// TestNothingKept has answers of which nothing must be put back: the keys of the client's calls are there, so that nobody is
// asked for them.
func TestNothingKept(t *testing.T) {
	for _, form := range []wire.Form{wire.Stream, wire.Body} {
		c := begun(t, map[string][]byte{}, form, "a")
		for _, rounds := range [][]round{
			{{textBlock("x")}}, {{callBlock("toolu_1", "theirs", `{}`), callBlock("toolu_01A09q90qw90lq917835lq9", "theirs", `{}`)}},
			{{textBlock("x"), callBlock("toolu_1", "bmcp_x_y", `{}`)}, {textBlock("y")}},
		} {
			kept := c.answer("a", rounds...)
			if n := strings.Count(fmt.Sprint(rounds), `"theirs"`); n > 0 && (len(kept) != 1 || len(kept[0].Keys) != n || kept[0].Turn != nil) {
				t.Errorf("%v: kept %+v", rounds, kept)
			} else if n == 0 && kept != nil {
				t.Errorf("%v: kept %+v", rounds, kept)
			}
			// The client has only seen the texts: they stay as they are.
			c.whole = slices.Clone(c.client)
		}
	}
}
