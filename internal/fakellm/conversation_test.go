package fakellm

import (
	"fmt"
	"strings"
	"testing"
)

// say sends a body to a new server and returns what the server noted.
func say(t *testing.T, path, body string, headers ...string) Served {
	t.Helper()
	s := New(Options{})
	if w := post(t, s, path, body, headers...); w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	return s.Served()[0]
}

// calls returns the names of the tools that were called.
func calls(s Served) string {
	var names []string
	for _, c := range s.ToolCalls {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

const prompt = `[[tool: a]] [[tool: b]] [[then]] [[text: now c]] [[tool: c]] [[usage: input=7]]`

const wrote = "Hello from fakellm. You wrote: "

func TestMessagesConversation(t *testing.T) {
	const wrapped = `{"role":"user","content":[` +
		`{"type":"text","text":"<system-reminder>[[delay: 0s]] x</system-reminder>"},` +
		`{"type":"text","text":"` + prompt + `"}]},{"role":"system","content":"# Environment"}`
	called := func(round string) string {
		return inRound(round, `,{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"a","input":{}},`+
			`{"type":"tool_use","id":"2","name":"b","input":{}}]}`+
			`,{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"one [[tool: d]]"},`+
			`{"type":"tool_result","tool_use_id":"2","content":[{"type":"text","text":"two"}]},`+
			`{"type":"text","text":"[[tool: e]]"}]}`)
	}
	body := func(messages string) string {
		return `{"model":"x","tools":[{"name":"a"}],"messages":[` + messages + `]}`
	}
	if s := say(t, "/v1/messages", body(wrapped)); calls(s) != "a b" || s.Text != "" || s.Prompt != prompt {
		t.Errorf("first: %+v", s)
	}
	s := say(t, "/v1/messages", body(wrapped+called("1")))
	if calls(s) != "c" || s.Text != "now c" || s.Usage.Input != 7 {
		t.Errorf("second: %+v", s)
	}
	s = say(t, "/v1/messages", body(wrapped+called("1")+called("2")))
	if calls(s) != "" || s.Text != "The tool returned: one [[tool: d]]; two" || s.Prompt != prompt {
		t.Errorf("third: %+v", s)
	}
	begun := `,{"role":"assistant","content":"Well,"}`
	s = say(t, "/v1/messages", body(`{"role":"user","content":"go on"}`+called("1")+begun))
	if s.Text != wrote+"go on" {
		t.Errorf("an answer that the client has begun: %+v", s)
	}
	next := `,{"role":"user","content":[{"type":"text","text":"thanks"}]}`
	if s := say(t, "/v1/messages", body(wrapped+called("1")+next)); s.Text != wrote+"thanks" {
		t.Errorf("next: %+v", s)
	}
}

func TestChatConversation(t *testing.T) {
	const user = `{"role":"developer","content":"[[tool: z]]"},` +
		`{"role":"user","content":[{"type":"text","text":"` + prompt + `"}]}`
	const called = `,{"role":"assistant","content":null,"tool_calls":[{"id":"1"},{"id":"2"}]}`
	const results = `,{"role":"tool","tool_call_id":"1","content":"one"},` +
		`{"role":"tool","tool_call_id":"2","content":[{"type":"text","text":"two"}]}`
	for round, want := range []string{"a b", "c", ""} {
		body := `{"model":"x","tools":[{"type":"function","function":{"name":"a"}}],"messages":[` +
			user + strings.Repeat(called+results, round) + `]}`
		s := say(t, "/v1/chat/completions", body)
		if calls(s) != want || round == 2 && s.Text != "The tool returned: one; two" {
			t.Errorf("round %d: %+v", round, s)
		}
	}
}

func TestResponsesConversation(t *testing.T) {
	const declared = `{"type":"additional_tools","role":"developer","tools":[` +
		`{"type":"namespace","name":"n","tools":[{"type":"custom","name":"c"}]}]}`
	const user = `,{"type":"message","role":"user","content":[{"type":"input_text","text":"<environment_context>"}]},` +
		`{"type":"message","role":"user","content":[{"type":"input_text","text":"` + prompt + `"}]}`
	const called = `,{"type":"reasoning","summary":[]},{"type":"function_call","call_id":"1","name":"a","arguments":"{}"}` +
		`,{"type":"custom_tool_call","call_id":"2","name":"b","input":""}`
	const results = `,{"type":"function_call_output","call_id":"1","output":"one"},` +
		`{"type":"custom_tool_call_output","call_id":"2","output":[{"type":"input_text","text":"two"}]}`
	for round, want := range []string{"a b", "c", ""} {
		s := say(t, "/v1/responses", `{"model":"x","input":[`+declared+user+strings.Repeat(called+results, round)+`]}`)
		if calls(s) != want || round == 2 && s.Text != "The tool returned: one; two" {
			t.Errorf("round %d: %+v", round, s)
		}
		if round == 1 && (s.ToolCalls[0].Namespace != "n" || !strings.HasPrefix(s.ToolCalls[0].ItemID, "ctc_")) {
			t.Errorf("the tool was declared as custom: %+v", s)
		}
	}
}

// inRound gives the calls 1 and 2, and their results, ids that no other round has.
func inRound(round, text string) string {
	return strings.NewReplacer(`id":"1"`, `id":"1 in `+round+`"`, `id":"2"`, `id":"2 in `+round+`"`).Replace(text)
}

func TestHeaderHasTheLastWord(t *testing.T) {
	for format, path := range paths() {
		s := say(t, path, request(t, format, "[[text: typed]] [[think: typed]]", false),
			"X-Fakellm", "[[text: header]]", "X-Fakellm", "[[usage: output=9]] [[then]] [[text: later]]")
		if s.Text != "header" || s.Usage.Output != 9 || len(s.Thoughts) != 1 {
			t.Errorf("%s: %+v", format, s)
		}
	}
}

func TestThinkingIsPartOfTheOutput(t *testing.T) {
	s := say(t, "/v1/messages", request(t, "messages", "[[think: a b c]] [[usage: output=2]]", false))
	if s.Usage.Output != 2 || s.Usage.Thinking != 2 {
		t.Errorf("%+v", s.Usage)
	}
}

func TestNoToolsNoCalls(t *testing.T) {
	s := say(t, "/v1/messages", `{"model":"x","messages":[{"role":"user","content":"[[tool: Bash]]"}]}`)
	if calls(s) != "" || s.Text != "I cannot call Bash: this request declares no tools." {
		t.Errorf("%+v", s)
	}
}

func TestInputThatIsNoJSON(t *testing.T) {
	const broken = "[[tool: Bash {]]"
	if w := post(t, New(Options{}), "/v1/messages", request(t, "messages", broken, false)); w.Code != 400 {
		t.Errorf("an input that no message can hold: %d %s", w.Code, w.Body)
	}
	// In these formats the arguments are a string, which need not be valid JSON.
	const typed = "[[tool: Bash not json]]"
	if w := post(t, New(Options{}), "/v1/messages", request(t, "messages", typed, false)); w.Code != 400 {
		t.Errorf("an input that no message can hold: %d %s", w.Code, w.Body)
	}
	for _, format := range []string{"chat", "responses"} {
		if s := say(t, paths()[format], request(t, format, typed, false)); s.ToolCalls[0].Input != "not json" {
			t.Errorf("%s: %+v", format, s)
		}
	}
}

func TestDefaultText(t *testing.T) {
	const directed = "one [[delay: 0s]] two three four five six seven eight nine"
	for _, test := range []struct{ prompt, want string }{
		{"hi", wrote + "hi"},
		{"", "Hello from fakellm."},
		{"[[delay: 0s]]", "Hello from fakellm."},
		{directed, wrote + "one two three four five six seven eight …"},
		{strings.Repeat("ü", 150), wrote + strings.Repeat("ü", 100)},
	} {
		for format, path := range paths() {
			s := say(t, path, request(t, format, test.prompt, false))
			if s.Text != test.want || s.Prompt != test.prompt {
				t.Errorf("%s: %+v", format, s)
			}
			if want := int64(len(strings.Fields(test.want))); s.Usage.Output != want {
				t.Errorf("%s: %d tokens, want %d", format, s.Usage.Output, want)
			}
		}
	}
}

// TestContent checks which texts are found in each form of content.
func TestContent(t *testing.T) {
	for content, want := range map[string]string{
		`"plain"`: "plain",
		`[{"type":"text","text":"a"},{"type":"image","source":{}},{"type":"text","text":"last"}]`: "last",
		`null`:                  "",
		`{"type":"odd"}`:        "",
		`[]`:                    "",
		`[{"type":"document"}]`: "",
	} {
		s := say(t, "/v1/messages", fmt.Sprintf(`{"model":"x","messages":[{"role":"user","content":%s}]}`, content))
		if s.Prompt != want {
			t.Errorf("%s: %q", content, s.Prompt)
		}
	}
}
