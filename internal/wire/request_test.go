package wire_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

func messages(texts ...string) [][]byte {
	all := make([][]byte, len(texts))
	for i, text := range texts {
		all[i] = []byte(text)
	}
	return all
}

func TestLastMessage(t *testing.T) {
	last := wire.LastMessage(messages(
		`{"role":"user","n":1}`, `{"role":"tool","n":2}`, `{"role":"system"}`, `{"role":"developer"}`,
	))
	if n := last.Get("n").Int(); n != 2 {
		t.Errorf("got message %d", n)
	}
	if wire.LastMessage(messages(`{"role":"system"}`)).Exists() || wire.LastMessage(nil).Exists() {
		t.Error("there is a last message of none")
	}
}

func TestLeadingSystem(t *testing.T) {
	tests := map[string]struct {
		messages [][]byte
		want     string
	}{
		"none":          {nil, ""},
		"first":         {messages(`{"role":"system","content":"a"}`, `{"role":"developer","content":"b"}`), "a"},
		"behind items":  {messages(`{"type":"tools"}`, `7`, `{"role":"developer","content":"b"}`), "b"},
		"behind others": {messages(`{"role":"user"}`, `{"role":"system","content":"a"}`), ""},
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
