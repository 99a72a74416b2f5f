package wire_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

func arrayOf(t *testing.T, texts ...string) jsonedit.Array {
	t.Helper()
	object, err := jsonedit.Parse([]byte(`{"m":[` + strings.Join(texts, ",") + "]}"))
	if err != nil {
		t.Fatal(err)
	}
	return object.Elements("m")
}

func TestLastMessage(t *testing.T) {
	last := wire.LastMessage(arrayOf(t,
		`{"role":"user","n":1}`, `{"role":"tool","n":2}`, `{"role":"system"}`, `{"role":"developer"}`,
	))
	if n := last.Get("n").Int(); n != 2 {
		t.Errorf("got message %d", n)
	}
	if wire.LastMessage(arrayOf(t, `{"role":"system"}`)).Exists() || wire.LastMessage(jsonedit.Array{}).Exists() {
		t.Error("there is a last message of none")
	}
}

func TestLeadingSystem(t *testing.T) {
	tests := map[string]struct {
		messages jsonedit.Array
		want     string
	}{
		"none":          {jsonedit.Array{}, ""},
		"first":         {arrayOf(t, `{"role":"system","content":"a"}`, `{"role":"developer","content":"b"}`), "a"},
		"behind items":  {arrayOf(t, `{"type":"tools"}`, `7`, `{"role":"developer","content":"b"}`), "b"},
		"far behind":    {arrayOf(t, append(slices.Repeat([]string{"7"}, 5000), `{"role":"system","content":"a"}`)...), ""},
		"behind others": {arrayOf(t, `{"role":"user"}`, `{"role":"system","content":"a"}`), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := wire.LeadingSystem(test.messages).Str; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTexts(t *testing.T) {
	for content, want := range map[string][]string{
		`"a"`: {"a"},
		`[{"type":"text","text":"a"},{"type":"image"},{"type":"input_text","text":"b"},
			{"type":"output_text","text":"c"}]`: {"a", "b"},
		`[{"text":"a"},"b",null]`:    {},
		`{"type":"text","text":"a"}`: {},
		`null`:                       {},
		``:                           {},
	} {
		if got := wire.Texts(gjson.Parse(content)); got == nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", content, got, want)
		}
	}
}

func TestHead(t *testing.T) {
	for content, want := range map[string]string{
		`"` + strings.Repeat("a", 256) + `"`:                                       strings.Repeat("a", 256),
		`"` + strings.Repeat("a", 257) + `"`:                                       strings.Repeat("a", 256),
		`"` + strings.Repeat("a", 255) + `é"`:                                      strings.Repeat("a", 255),
		`[{"type":"image"},{"type":"text","text":"a"},{"type":"text","text":"b"}]`: "a",
		`[{"type":"image"}]`:                                                       "",
		`7`:                                                                        "",
		``:                                                                         "",
	} {
		if got := wire.Head(gjson.Parse(content)); got != want {
			t.Errorf("%s: got %q, want %q", content, got, want)
		}
	}
}
