package fakellm

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestDirectives(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []directive
		plain      string
	}{
		{"none", "if [[ -f x ]]; then [[unknown: y]] [x] ]] [[", nil, "if [[ -f x ]]; then [[unknown: y]] [x] ]] [["},
		{"one", "say [[text: hello there ]] now", []directive{{name: "text", argument: "hello there"}}, "say  now"},
		{"no argument", "[[no-done]]", []directive{{name: "no-done"}}, ""},
		{"empty argument", "[[text:]]", []directive{{name: "text"}}, ""},
		{"lines", "[[think: a\nb]]", []directive{{name: "think", argument: "a\nb"}}, ""},
		{"one more bracket", "[[[cut]]]", []directive{{name: "cut"}}, "[]"},
		{"longer name", "[[cutlery]] [[texts: x]]", nil, "[[cutlery]] [[texts: x]]"},
		{
			"several", "[[delay: 1s]][[then]] x [[cut: after=3]]",
			[]directive{{name: "delay", argument: "1s"}, {name: "then"}, {name: "cut", argument: "after=3"}}, " x ",
		},
		{"tool", `[[tool: Bash {"a":[[1]]}]]`, []directive{{name: "tool", argument: "Bash", input: `{"a":[[1]]}`}}, ""},
		{
			"tool with brackets in a string", `[[tool: Bash  {"a":"]]"} ]]!`,
			[]directive{{name: "tool", argument: "Bash", input: `{"a":"]]"}`}}, "!",
		},
		{"tool without input", "[[tool: ls]] ", []directive{{name: "tool", argument: "ls"}}, " "},
		{"tool with text", "[[tool: exec a(1) ]]", []directive{{name: "tool", argument: "exec", input: "a(1)"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, plain, err := directives(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(found, test.want) || plain != test.plain {
				t.Errorf("got %+v and %q, want %+v and %q", found, plain, test.want, test.plain)
			}
		})
	}
}

func TestMalformedDirectives(t *testing.T) {
	for _, text := range []string{
		"[[text: open", "[[tool]]", "[[tool: ]]", `[[tool: x {"a" 1}]]`, `[[tool: x {"a":1} more]]`, `[[tool: x {"a":1}`,
		"[[usage: input]]", "[[usage: input=x]]", "[[usage: input=-1]]", "[[usage: more=1]]",
		"[[error]]", "[[error: 200]]", "[[error: 600]]", "[[error: soon]]", "[[error-event]]", "[[error-event: x after=-1]]",
		"[[delay]]", "[[delay: 5]]", "[[delay: -5s]]", "[[silence: after=1]]", "[[silence: x]]", "[[silence: 1s after=x]]",
		"[[cut: 3]]", "[[cut: after=3x]]",
	} {
		a := ask{messages: []utterance{{from: fromUser, texts: []string{text}}}}
		_, _, err := a.script(nil)
		if refused, ok := errors.AsType[*refusal](err); !ok || refused.status != http.StatusBadRequest {
			t.Errorf("%s: got %v, want a bad request", text, err)
		}
	}
}

// FuzzDirectives checks that the text within a directive and the text around it come out unchanged.
func FuzzDirectives(f *testing.F) {
	f.Add("say ", "hello [there]", " now")
	f.Add("[", "]", "]")
	f.Fuzz(func(t *testing.T, before, inside, after string) {
		before = strings.ReplaceAll(before, "[", "")
		after = strings.ReplaceAll(after, "[", "")
		input, err := json.Marshal(map[string]string{"inside": inside})
		if err != nil {
			t.Fatal(err)
		}
		found, plain, err := directives(before + "[[tool: x " + string(input) + "]]" + after)
		want := []directive{{name: "tool", argument: "x", input: string(input)}}
		if err != nil || !slices.Equal(found, want) || plain != before+after {
			t.Errorf("tool: got %+v, %q and %v", found, plain, err)
		}
		if strings.Contains(inside, "]") {
			return
		}
		found, plain, err = directives(before + "[[text: " + inside + "]]" + after)
		want = []directive{{name: "text", argument: strings.TrimSpace(inside)}}
		if err != nil || !slices.Equal(found, want) || plain != before+after {
			t.Errorf("text: got %+v, %q and %v", found, plain, err)
		}
	})
}

func TestHelpNamesEveryDirective(t *testing.T) {
	help := Help()
	for name := range strings.FieldsSeq("text think tool usage then error error-event delay silence cut no-done") {
		if !isDirective(name) {
			t.Errorf("%s is no directive", name)
		}
		if !strings.Contains(help, "[["+name+":") && !strings.Contains(help, "[["+name+"]]") {
			t.Errorf("the help does not tell of %s", name)
		}
	}
	for line := range strings.Lines(help) {
		if len(line) > 101 {
			t.Errorf("too long for a terminal: %s", line)
		}
	}
}

// TestHelpExamplesAreUnderstood scripts an answer with all of the help: each directive in it must be well-formed.
func TestHelpExamplesAreUnderstood(t *testing.T) {
	help := strings.NewReplacer(`after=N`, `after=1`).Replace(Help())
	for round := range 2 {
		a := ask{messages: []utterance{{from: fromUser, texts: []string{help}}}}
		for range round {
			a.messages = append(a.messages, utterance{from: fromTools, results: []string{"done"}})
		}
		if _, _, err := a.script(nil); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
}
