package messages_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/messages"
)

// conversation is one of a client and a model, through the gateway. It goes on with what the client sends again.
type conversation struct {
	t      *testing.T
	kept   map[string][]byte // What is kept of all conversations of the user, by its keys.
	client []string          // The messages as the client has them.
	whole  []string          // The same as the upstream is to have them.
	form   wire.Form
	seen   []string // The blocks of the last answer, as the client has them.
	plays  bool     // Only the client's messages matter, and not what the upstream is sent.
}

func list(values []string) string { return strings.Join(values, ",") }

func (c *conversation) body() string {
	return `{"model":"m","messages":[` + list(c.client) + `],"tools":[{"name":"theirs"}]}`
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
			if string(next) != restored && !c.plays {
				c.t.Fatalf("round %d has\n%s\nwant\n%s", n+1, next, restored)
			}
		}
		c.whole = append(c.whole, `{"role":"assistant","content":[`+list(of)+`]}`)
		if n < len(rounds)-1 {
			c.whole = append(c.whole, `{"role":"user","content":[`+list(results)+`]}`)
		}
	}
	c.seen = seen
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
	body := parse(c.t, c.body())
	for _, from := range []int{body.Elements("messages").Len(), 0} {
		asked := format.Tooling.Keys(body, from)
		for _, key := range asked {
			if _, known := c.kept[key]; !known {
				c.t.Errorf("%s is asked for, from %d: kept is %v", key, from, kept)
			}
		}
		for _, keep := range kept {
			if !slices.ContainsFunc(asked, func(key string) bool { return slices.Contains(keep.Keys, key) }) {
				c.t.Errorf("%v is kept, %v is asked for, from %d", keep.Keys, asked, from)
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
			if n := strings.Count(fmt.Sprint(rounds), `"theirs"`); n > 0 && (len(kept) != 1 || len(kept[0].Keys) != n+1 || kept[0].Turn != nil) {
				t.Errorf("%v: kept %+v", rounds, kept)
			} else if n == 0 && kept != nil {
				t.Errorf("%v: kept %+v", rounds, kept)
			}
			// The client has only seen the texts: they stay as they are.
			c.whole = slices.Clone(c.client)
		}
	}
}

const longSecret = "EqQBCgIYAhIMfj8s7Sg2kqPa0123456789"

// TestThoughts has thoughts of every kind in answers of several rounds. The client sends all that it has seen as one message:
// the upstream gets the rounds as they were.
func TestThoughts(t *testing.T) {
	ours := func(n int) string { return callBlock(fmt.Sprint("toolu_ours_0123456789", n), "bmcp_x_y", `{"n": 1}`) }
	theirs := func(n int) string { return callBlock(fmt.Sprint("toolu_theirs_0123456789", n), "theirs", `{}`) }
	one, two, three := thought("First", longSecret+"1"), thought("\u00e9", longSecret+"2"), thought("", longSecret+"3")
	redacted := block("redacted_thinking", `"data":"Em%s"`, longSecret)
	for name, rounds := range map[string][]round{
		"before a call":    {{one, ours(1)}, {textBlock("Done.")}},
		"in both":          {{one, ours(1)}, {two, textBlock("Done.")}},
		"only behind":      {{textBlock("Look."), ours(1)}, {two, textBlock("Done.")}},
		"three rounds":     {{one, textBlock("Look."), ours(1)}, {ours(2), ours(3)}, {two, textBlock("Look."), three, textBlock("Done.")}},
		"redacted":         {{redacted, one, ours(1)}, {textBlock("Done.")}},
		"redacted last":    {{one, redacted, ours(1)}, {textBlock("Done.")}},
		"between calls":    {{one, ours(1), two, ours(2)}, {textBlock("Done.")}},
		"short":            {{thought("a", "s"), ours(1)}, {thought("b", "s"), textBlock("Done.")}},
		"mixed":            {{one, ours(1)}, {two, textBlock("Both."), ours(2), theirs(1)}},
		"mixed in the end": {{one, ours(1)}, {two, theirs(1)}},
		"one round":        {{one, ours(1), two, theirs(1), ours(2)}},
		"a server's tool": {
			{one, block("server_tool_use", `"id":"srvtoolu_1","name":"web_search","input":{}`), ours(1)},
			{block("web_search_tool_result", `"tool_use_id":"srvtoolu_1","content":[]`), textBlock("Done.")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, form := range []wire.Form{wire.Stream, wire.Body} {
				c := begun(t, map[string][]byte{}, form, "a")
				c.answer("x", rounds...)
				c.restored()
				c.answer("y", round{thought("later", longSecret+"9"), textBlock("z")})
				c.restored()
			}
		})
	}
}

// TestThoughtsInPieces has a signature that comes in pieces, and a thought without one behind it.
func TestThoughtsInPieces(t *testing.T) {
	piece := func(kind, text string) string {
		return fmt.Sprintf(`{"type":"content_block_delta","index":0,"delta":{"type":"%s_delta",%q:%q}}`, kind, kind, text)
	}
	j := joint(t, request)
	pass(j, stream(start("m", 1), `{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
		piece("thinking", "a"), piece("signature", longSecret), piece("signature", "more"), `{"type":"content_block_stop","index":0}`,
		call(1, "toolu_1", "bmcp_x_y"), end("tool_use", 1)), 100)
	j.Turn()
	next(t, j, request, said("x"))
	pass(j, stream(start("m", 1), thought0(0), text(1, "Done."), end("end_turn", 1)), 100)
	j.Turn()
	kept := j.Kept()
	body := parse(t, `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[`+thought("a", longSecret+"more")+`,`+
		thought("b", "")+`,`+textBlock("Done.")+`]}]}`)
	if keys := messages.Format().Tooling.Keys(body, 1<<20); len(kept) != 1 || kept[0].Turn == nil || !slices.Equal(keys, kept[0].Keys) {
		t.Errorf("%v is asked for, kept is %+v", keys, kept)
	}
}

// thought0 is a thought without a signature, as some servers send it.
func thought0(index int) []string {
	return []string{
		fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":{"type":"thinking","thinking":""}}`, index),
		fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":{"type":"thinking_delta","thinking":"b"}}`, index),
		fmt.Sprintf(`{"type":"content_block_stop","index":%d}`, index),
	}
}

// TestThoughtsOfOthers has a server that always makes up the same signature: no conversation gets what is another's.
func TestThoughtsOfOthers(t *testing.T) {
	for _, secret := range []string{"", "s", longSecret} {
		kept := map[string][]byte{}
		for _, name := range []string{"a", "b", "c"} {
			c := begun(t, kept, wire.Body, name)
			c.answer(name, round{thought(name, secret), callBlock("call_0", "bmcp_x_y", `{}`)}, round{textBlock("Done.")})
		}
		for _, name := range []string{"a", "b", "c"} {
			body := parse(t, `{"messages":[{"role":"user","content":"`+name+`"},{"role":"assistant","content":[`+thought(name, secret)+`,`+textBlock("Done.")+`]}]}`)
			got, err := jsonedit.Splice(body.Bytes(), messages.Format().Tooling.Restore(body, kept)...)
			isOwn := strings.Contains(string(got), `"text":"`+name+` 0 0"`)
			if err != nil || !isOwn && string(got) != string(body.Bytes()) || secret == "s" && !isOwn {
				t.Errorf("%v: %s gets %s", err, name, got)
			}
		}
	}
}

// TestChanged has messages that a client has changed.
func TestChanged(t *testing.T) {
	one, two, other := thought("First", longSecret+"1"), thought("Second", longSecret+"2"), thought("Other", longSecret+"3")
	ours := callBlock("toolu_ours_0123456789", "bmcp_x_y", `{}`)
	look, done := textBlock("Look. "), textBlock("Done.")
	const (
		begin, results, behind = `{"role":"assistant","content":[`, `]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_ours_0123456789","content":[{"type":"text","text":"x 0 0"}]}]},{"role":"assistant","content":[`, `]}`
	)
	c := begun(t, map[string][]byte{}, wire.Stream, "a")
	c.answer("x", round{one, look, ours}, round{two, done})
	for name, test := range map[string]struct {
		sent, first, last []string // None: it stays as it is.
		members           string
	}{
		"as it was":              {sent: []string{one, look, two, done}, first: []string{one, look}, last: []string{two, done}},
		"texts written anew":     {sent: []string{one, textBlock("Look."), two, textBlock("done")}, first: []string{one, textBlock("Look.")}, last: []string{two, textBlock("done")}},
		"a text less":            {sent: []string{one, two, done}, first: []string{one}, last: []string{two, done}},
		"a text more":            {sent: []string{one, look, textBlock("+"), two, done, textBlock("+")}, first: []string{one, look, textBlock("+")}, last: []string{two, done, textBlock("+")}},
		"marked for the cache":   {sent: []string{one, look, two, strings.Replace(done, `}`, `,"cache_control":{"type":"ephemeral"}}`, 1)}, first: []string{one, look}, last: []string{two, strings.Replace(done, `}`, `,"cache_control":{"type":"ephemeral"}}`, 1)}},
		"the first thought less": {sent: []string{look, two, done}, first: []string{look}, last: []string{two, done}},
		"the last thought less":  {sent: []string{one, look, done}},
		"no thoughts":            {sent: []string{look, done}},
		"only the last thought":  {sent: []string{two}, last: []string{two}},
		"thoughts in disorder":   {sent: []string{look, done, two, one, two}},
		"another thought":        {sent: []string{one, other, look, two, done}},
		"an edited thought":      {sent: []string{strings.Replace(one, "First", "Fist", 1), look, two, done}},
		"ours are there":         {sent: []string{one, look, ours, two, done}},
		"no tools":               {sent: []string{one, look, two, done}, members: `"tool_choice":{"type":"none"},`},
	} {
		t.Run(name, func(t *testing.T) {
			body := parse(t, `{`+test.members+`"messages":[{"role":"user","content":"a"},`+begin+list(test.sent)+`]},{"role":"user","content":"b"}]}`)
			want := begin + list(test.sent) + behind
			if test.last != nil {
				want = begin + list(append(test.first, ours)) + results + list(test.last) + behind
			}
			want = `{` + test.members + `"messages":[{"role":"user","content":"a"},` + want + `,{"role":"user","content":"b"}]}`
			got, err := jsonedit.Splice(body.Bytes(), messages.Format().Tooling.Restore(body, c.kept)...)
			if err != nil || string(got) != want {
				t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}

// wellFormed returns an error unless each call has its result in the message behind it, and no message is empty.
func wellFormed(body string) error {
	open := map[string]bool{}
	var err error
	gjson.Get(body, "messages").ForEach(func(_, message gjson.Result) bool {
		content := message.Get("content")
		if content.IsArray() && len(content.Array()) == 0 {
			err = fmt.Errorf("an empty message")
		}
		called := map[string]bool{}
		content.ForEach(func(_, block gjson.Result) bool {
			switch id := block.Get("tool_use_id").Str; block.Get("type").Str {
			case "tool_use":
				called[block.Get("id").Str] = true
			case "tool_result":
				if !open[id] {
					err = fmt.Errorf("a result of %s, which was not called", id)
				}
				delete(open, id)
			}
			return true
		})
		if len(open) > 0 {
			err = fmt.Errorf("no result of %v", open)
		}
		open = called
		return err == nil
	})
	return err
}

// FuzzRestore lets a model answer in any rounds, and a client change what it sends again: what the upstream gets is well-formed,
// has all of the client's blocks in their order, and each thought that stands in a message with calls of the gateway's stands in
// the one that it was made in.
func FuzzRestore(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		var rounds []round
		home := map[string]int{} // The round of a call or a thought, by its block.
		theirs := callBlock("call_1", "theirs", `{}`)
		count := 1 + r.IntN(3)
		for n := range count {
			var of round
			add := func(block string) {
				of = append(of, block)
				home[block] = n
			}
			for i := range r.IntN(4) {
				switch r.IntN(3) {
				case 0:
					add(thought("t", fmt.Sprint(longSecret, n, i)))
				case 1:
					of = append(of, textBlock(fmt.Sprint("text", r.IntN(2))))
				default:
					of = append(of, textBlock(" "))
				}
			}
			if n < count-1 || r.IntN(2) == 0 {
				add(callBlock(fmt.Sprint("toolu_", n), "bmcp_x_y", `{}`))
			}
			if n == count-1 {
				of = append(of, theirs)
			}
			if n == count-1 && r.IntN(2) == 0 {
				of = round{textBlock("Done.")}
			}
			rounds = append(rounds, of)
		}
		c := begun(t, map[string][]byte{}, wire.Body, "a")
		// Blank texts are not sent upstream in a later round: only what the client sends matters here.
		c.plays = true
		c.answer("x", rounds...)
		sent := slices.Clone(c.seen)
		for range r.IntN(3) {
			at := r.IntN(len(sent))
			switch r.IntN(4) {
			case 0:
				if len(sent) > 1 && sent[at] != theirs {
					sent = slices.Delete(sent, at, at+1)
				}
			case 1:
				sent = slices.Insert(sent, at, textBlock("more"))
			case 2:
				other := r.IntN(len(sent))
				sent[at], sent[other] = sent[other], sent[at]
			default:
				if strings.Contains(sent[at], `"text"`) {
					sent[at] = textBlock("changed")
				}
			}
		}
		c.client[1] = `{"role":"assistant","content":[` + list(sent) + `]}`
		body := parse(t, c.body())
		got, err := jsonedit.Splice(body.Bytes(), messages.Format().Tooling.Restore(body, c.kept)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := wellFormed(string(got)); err != nil || wellFormed(c.body()) != nil {
			t.Fatalf("%v in\n%s\nof\n%s", err, got, c.body())
		}
		var all []string
		gjson.GetBytes(got, "messages").ForEach(func(_, message gjson.Result) bool {
			at := -1
			message.Get("content").ForEach(func(_, block gjson.Result) bool {
				if n, ok := home[block.Raw]; ok && strings.Contains(message.Raw, "bmcp_") {
					if at >= 0 && at != n {
						t.Fatalf("a block of round %d among those of round %d in\n%s\nof\n%s", n, at, got, c.body())
					}
					at = n
				}
				if message.Get("role").Str == "assistant" && !strings.Contains(block.Raw, "bmcp_") {
					all = append(all, block.Raw)
				}
				return true
			})
			return true
		})
		if !slices.Equal(all, sent) {
			t.Fatalf("the client's blocks are\n%s\nof\n%s", all, sent)
		}
	})
}
