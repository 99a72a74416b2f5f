package wire_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coder/aibridged/internal/wire"
)

const (
	textLimit = 32 << 20
	partLimit = 4096
)

func gathered(g *wire.Gathering) wire.Answer {
	var answer wire.Answer
	g.AddTo(&answer)
	return answer
}

func TestGathering(t *testing.T) {
	var g wire.Gathering
	first, second := g.Call(), g.Call()
	second.ID, second.ItemID, second.Name, second.Default = "b", "item", "B", "{}"
	first.ID, first.Default = "a", "{}"
	first.Input.Add("[")
	shown, hidden, empty := g.Thought("thinking"), g.Thought("commentary"), g.Thought("thinking")
	shown.Content.Add("one ")
	hidden.Redacted = true
	empty.Content.Add("")

	before := gathered(&g)
	first.Input.Add("]")
	shown.Content.Add("two")

	want := wire.Answer{
		ToolCalls: []wire.ToolCall{{ID: "a", Input: "["}, {ID: "b", ItemID: "item", Name: "B", Input: "{}"}},
		Thoughts:  []wire.Thought{{Source: "thinking", Content: "one "}, {Source: "commentary", Redacted: true}},
	}
	if !reflect.DeepEqual(before, want) {
		t.Errorf("got %+v, want %+v", before, want)
	}
	want.ToolCalls[0].Input = "[]"
	want.Thoughts[0].Content = "one two"
	if got := gathered(&g); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if g.Lost() {
		t.Error("something was lost")
	}
}

func TestThoughtThatIsShownIsNotRedacted(t *testing.T) {
	var g wire.Gathering
	thought := g.Thought("thinking")
	thought.Redacted = true
	thought.Content.Add("after all")
	want := []wire.Thought{{Source: "thinking", Content: "after all"}}
	if got := gathered(&g).Thoughts; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTextIsBoundedInAll(t *testing.T) {
	var g wire.Gathering
	call, thought := g.Call(), g.Thought("thinking")
	call.Input.Add(strings.Repeat("x", textLimit-5))
	thought.Content.Add("éé🌍") // Eight bytes, where only five fit.
	if !g.Lost() {
		t.Error("nothing was lost")
	}
	if g.Lost() {
		t.Error("the same was lost twice")
	}
	call.Input.Add("y")
	if !g.Lost() {
		t.Error("a piece fits behind one that did not")
	}
	call.Input.Add("")
	if g.Lost() {
		t.Error("an empty piece was lost")
	}
	if id := g.Keep("id"); id != "" || !g.Lost() {
		t.Errorf("kept %q", id)
	}
	answer := gathered(&g)
	if got := answer.Thoughts[0].Content; got != "éé" {
		t.Errorf("got thought %q", got)
	}
	if got := answer.ToolCalls[0].Input; len(got) != textLimit-5 || !utf8.ValidString(got) {
		t.Errorf("got %d bytes of input", len(got))
	}
}

func TestReplaceGivesRoomBack(t *testing.T) {
	var g wire.Gathering
	text := strings.Repeat("x", textLimit/2)
	call, other := g.Call(), g.Call()
	for range 5 {
		call.Input.Replace(text)
		call.Input.Replace(text[1:])
	}
	call.Input.Replace("")
	other.Input.Add(text)
	if g.Lost() {
		t.Error("what was replaced takes room")
	}
	if got := gathered(&g).ToolCalls; got[0].Input != text[1:] || got[1].Input != text {
		t.Errorf("got %d and %d bytes", len(got[0].Input), len(got[1].Input))
	}
	other.Input.Add("yy")
	other.Input.Replace("short")
	call.Input.Add("zz")
	if !g.Lost() {
		t.Error("nothing was lost")
	}
	if got := gathered(&g).ToolCalls; got[0].Input != text[1:] || got[1].Input != text+"y" {
		t.Error("a text grows, or changes, after one that did not fit")
	}
}

func TestPartsAreBounded(t *testing.T) {
	var g wire.Gathering
	for i := range partLimit {
		if g.Call() == nil || g.Thought("thinking") == nil {
			t.Fatalf("no room for part %d", i)
		}
	}
	if g.Lost() {
		t.Error("something was lost")
	}
	if g.Call() != nil || !g.Lost() {
		t.Error("there is room for another call")
	}
	if g.Thought("thinking") != nil || !g.Lost() {
		t.Error("there is room for another thought")
	}
}

// TestTextTellers has a text that several tellers tell, each in its own pieces.
func TestTextTellers(t *testing.T) {
	type step struct {
		teller int // -1: it is told as a whole.
		piece  string
	}
	for name, test := range map[string]struct {
		steps []step
		want  string
	}{
		"one":                         {[]step{{0, "ab"}, {0, ""}, {0, "ab"}}, "abab"},
		"another repeats it":          {[]step{{0, "ab"}, {0, "cd"}, {1, "a"}, {1, "bc"}, {1, "d"}}, "abcd"},
		"another repeats and goes on": {[]step{{0, "ab"}, {1, "abc"}, {0, "c"}, {0, "d"}}, "abcd"},
		"they take turns":             {[]step{{0, "ab"}, {1, "cd"}, {0, "ef"}}, "abcdef"},
		"whole at the end":            {[]step{{0, "ab"}, {-1, "ab"}}, "ab"},
		"whole goes on":               {[]step{{0, "ab"}, {-1, "abc"}}, "abc"},
		"whole first":                 {[]step{{-1, "abc"}, {0, "a"}, {0, "bc"}, {0, "d"}}, "abcd"},
		"whole is another":            {[]step{{0, "ab"}, {-1, "xyz"}}, "ab"},
		"whole is shorter":            {[]step{{0, "ab"}, {-1, "a"}, {0, "c"}}, "abc"},
		"so far, again and again":     {[]step{{-1, "a"}, {-1, "ab"}, {-1, "abc"}}, "abc"},
	} {
		t.Run(name, func(t *testing.T) {
			var gathering wire.Gathering
			text := &gathering.Thought("thinking").Content
			for _, step := range test.steps {
				if step.teller < 0 {
					text.Complete(step.piece)
				} else {
					text.AddFrom(step.teller, step.piece)
				}
			}
			if got := text.String(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}

	var gathering wire.Gathering
	text := &gathering.Thought("thinking").Content
	text.AddFrom(0, "much longer")
	text.Replace("short")
	text.AddFrom(0, "er")
	text.Heard(1)
	text.AddFrom(1, "!")
	if got := text.String(); got != "shorter!" {
		t.Errorf("got %q", got)
	}
}

// TestAddJSON has pieces that repeat what came before, and pieces that only look like that.
func TestAddJSON(t *testing.T) {
	for want, pieces := range map[string][]string{
		`{"x":1}`:                  {`{"x"`, `{"x":1`, `{"x":1}`},
		`{"x":2}`:                  {"{", `{"x":`, `{"x":2`, `{"x":2}`, `{"x":2}`},
		`{"x":{"x":3}}`:            {`{"x":`, `{"x":{"x":`, `{"x":{"x":3`, `{"x":{"x":3}}`},
		`[1,[1,2]]`:                {"[1", "[1,", "[1,[1,2", "[1,[1,2]]"},
		`{"a":{"a":{"a":1}}}`:      {`{"a":`, `{"a":{`, `"a":1`, "}}}"},
		`{"a":{"a":{"a":2}}}`:      {`{"a":`, `{"a":`, `{"a":`, `2}}}`},
		"[[[[1]]]]":                {"[", "[", "[[1", "]]]]"},
		"aab":                      {"a", "ab"}, // Nobody can tell.
		`{"a":"{\"a\":\"{\"}"}`:    {`{"a":"{`, `\"a\":\"{`, `\"}"}`},
		`{"x":1,"y":{"x":1,"z":}}`: {`{"x":1,`, `"y":`, `{"x":1,`, `"z":}}`},
	} {
		var g wire.Gathering
		call := g.Call()
		for _, piece := range pieces {
			call.Input.AddJSON(piece)
		}
		if got := call.Input.String(); got != want {
			t.Errorf("%q make %s, want %s", pieces, got, want)
		}
	}
}

// FuzzAddJSON cuts JSON into pieces: if each repeats what came before, and the last one is sent twice, the text is the JSON;
// if none does, it is the JSON, too.
func FuzzAddJSON(f *testing.F) {
	f.Add(`{"x":{"x":[1,"{"]}}`, uint64(0x1234))
	f.Add(`[[[1]],[[1]]]`, uint64(0xffff))
	f.Fuzz(func(t *testing.T, text string, cuts uint64) {
		if len(text) > 64 || !json.Valid([]byte(text)) || text[0] != '{' && text[0] != '[' {
			return
		}
		var g wire.Gathering
		parts, repeated := g.Call(), g.Call()
		from := 0
		for i := 1; i <= len(text); i++ {
			if i < len(text) && cuts>>(i%64)&1 == 0 {
				continue
			}
			parts.Input.AddJSON(text[from:i])
			repeated.Input.AddJSON(text[:i])
			from = i
		}
		repeated.Input.AddJSON(text)
		if got := parts.Input.String(); got != text {
			t.Errorf("pieces make %s, not %s", got, text)
		}
		if got := repeated.Input.String(); got != text {
			t.Errorf("repeated pieces make %s, not %s", got, text)
		}
	})
}
