package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// scenario is a conversation: what the upstream is told to say, and what must arrive.
type scenario struct {
	name     string
	script   string
	text     string
	thoughts []string
	calls    []call  // Without ids, since the upstream makes them up.
	tokens   *tokens // Nil: the upstream counts words.
	results  []string
}

func scenarios() []scenario {
	list := call{Tool: "list_files", Input: `{"path":"/tmp/ä","depth":2}`}
	pwd := call{Tool: "pwd", Input: `{}`}
	return []scenario{
		{name: "text", script: "[[text: A text with \"quotes\" and 😀.]]", text: "A text with \"quotes\" and 😀."},
		{name: "thinking", script: "[[think: First this, then thät.]] [[text: Done.]]", text: "Done.", thoughts: []string{"First this, then thät."}},
		{
			name: "parallel-tools", script: "[[text: Let me look.]] [[tool: list_files " + list.Input + "]] [[tool: pwd {}]] [[tool: list_files " + list.Input + "]]",
			text: "Let me look.", calls: []call{list, pwd, list},
		},
		{
			name: "tool-results", script: "[[think: A call will tell.]] [[text:]] [[tool: pwd {}]] [[tool: list_files " + list.Input + "]]",
			thoughts: []string{"A call will tell."}, calls: []call{pwd, list}, results: []string{"/home/ada", "a.txt b.txt"},
		},
		{
			name: "cached-usage", script: "[[think: Hm.]] [[text: Cached.]] [[usage: input=10 output=50 cache_read=3000 cache_write=200 thinking=7]]",
			text: "Cached.", thoughts: []string{"Hm."}, tokens: &tokens{Input: 10, Output: 50, CacheRead: 3000, CacheWrite: 200},
		},
	}
}

// TestConversations has each SDK hold each conversation, blocking and streaming, and compares three things: what the
// upstream was told to say, what the SDK decoded, and what was recorded.
func TestConversations(t *testing.T) {
	for _, sdk := range sdks() {
		for _, stream := range []bool{false, true} {
			for _, scenario := range scenarios() {
				t.Run(fmt.Sprintf("%s/%s/%s", sdk.name, transfer(stream), scenario.name), func(t *testing.T) {
					t.Parallel()
					converse(t, sdk, stream, scenario)
				})
			}
		}
	}
}

func transfer(stream bool) string {
	if stream {
		return "streaming"
	}
	return "blocking"
}

func converse(t *testing.T, sdk sdk, stream bool, scenario scenario) {
	u := newUser(t)
	settings := u.settings(sdk, stream)
	for _, call := range scenario.calls {
		settings.tools = append(settings.tools, call.Tool)
	}
	talk := sdk.open(settings)
	typed := "Please. " + scenario.script
	before := time.Now()
	said, err := talk.ask(t.Context(), typed)
	if err != nil {
		t.Fatal(err)
	}
	scenario.check(t, sdk, said)
	answers := []decodedAnswer{said}
	if scenario.results != nil {
		said, err := talk.reply(t.Context(), scenario.results...)
		if err != nil {
			t.Fatal(err)
		}
		if want := "The tool returned: " + strings.Join(scenario.results, "; "); said.Text != want {
			t.Errorf("the answer to the results is %q, want %q", said.Text, want)
		}
		answers = append(answers, said)
	}

	recorded := u.recorded(t, len(answers))
	for i, said := range answers {
		compare(t, recorded[i], said)
		u.checkStart(t, sdk, recorded[i], before)
	}
	if first := recorded[0]; first.CorrelatingToolCallID != nil || len(first.Prompts) != 1 || first.Prompts[0].Prompt != typed {
		t.Errorf("the first interception is not the prompt's, which was %q:\n%s", typed, indented(first))
	}
	if scenario.results != nil {
		second, last := recorded[1], answers[0].Calls[len(answers[0].Calls)-1]
		if second.CorrelatingToolCallID == nil || *second.CorrelatingToolCallID != last.ID || len(second.Prompts) != 0 {
			t.Errorf("the second interception is not the one with the results, the last of which is for %s:\n%s", last.ID, indented(second))
		}
	}
}

// check compares an answer with what the upstream was told to say.
func (s scenario) check(t *testing.T, sdk sdk, said decodedAnswer) {
	t.Helper()
	got, want := said, said
	got.Calls = nil
	for _, call := range said.Calls {
		if call.ID == "" || (call.ItemID != "") != (sdk.name == "responses") {
			t.Errorf("a call has the ids %q and %q", call.ID, call.ItemID)
		}
		call.ID, call.ItemID = "", ""
		got.Calls = append(got.Calls, call)
	}
	want.Text, want.Thoughts, want.Calls, want.Tier = s.text, s.thoughts, s.calls, sdk.tier
	want.Model = "fake-" + sdk.name
	if s.tokens != nil {
		want.Tokens = *s.tokens
	}
	if got, want := indented(got), indented(want); got != want {
		t.Errorf("the SDK decoded\n%s\nbut the upstream was told to say\n%s", got, want)
	}
	if said.ID == "" || said.Tokens.Input == 0 || said.Tokens.Output == 0 {
		t.Errorf("the answer has no id or no usage:\n%s", indented(said))
	}
}

// compare compares a record with the answer that an SDK decoded.
func compare(t *testing.T, recorded interception, said decodedAnswer) {
	t.Helper()
	said.Text = ""
	if got, want := indented(recorded.answer(t, said)), indented(said); got != want {
		t.Errorf("recorded is\n%s\nbut the SDK saw\n%s", got, want)
	}
	if recorded.ErrorType != nil || recorded.ErrorMessage != nil {
		t.Errorf("a success is recorded as a failure:\n%s", indented(recorded))
	}
}

// checkStart compares an interception's start with the user and the SDK that made the request.
func (u *user) checkStart(t *testing.T, sdk sdk, i interception, before time.Time) {
	t.Helper()
	type start struct {
		Initiator, APIKeyID, Provider, ProviderName, Model, Client, Kind, Hint, Username string
	}
	username, _ := i.Metadata["Username"].(string)
	got := start{i.Initiator, i.APIKeyID, i.Provider, i.ProviderName, i.Model, i.Client, i.CredentialKind, i.CredentialHint, username}
	want := start{u.name, u.keyID(), sdk.provider, sdk.provider, "fake-" + sdk.name, sdk.client, "centralized", providerHint, u.name}
	if got != want {
		t.Errorf("the start says %+v, want %+v", got, want)
	}
	if !strings.HasPrefix(i.UserAgent, sdk.agent) {
		t.Errorf("the user agent is %q, want %q…", i.UserAgent, sdk.agent)
	}
	if i.ClientSessionID != nil {
		t.Errorf("the SDK has no sessions, but %q is recorded", *i.ClientSessionID)
	}
	// Times in records are in microseconds.
	if i.StartedAt.Before(before.Truncate(time.Microsecond)) || i.EndedAt.Before(i.StartedAt) || i.EndedAt.After(time.Now()) {
		t.Errorf("it lasted from %s to %s, but was asked for after %s", i.StartedAt, i.EndedAt, before)
	}
}

// TestUnwantedUsage streams a chat whose client does not ask for its usage: the usage is recorded, and the client does
// not get it.
func TestUnwantedUsage(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	settings := u.settings(sdks()[1], true)
	events := 0
	settings.onEvent = func() { events++ }
	talk := newChatTalk(settings)
	said, err := talk.ask(t.Context(), "[[text: Hi.]] [[usage: input=10 output=5 cache_read=3 cache_write=2]]")
	if err != nil {
		t.Fatal(err)
	}
	if said.Text != "Hi." || said.Tokens != (tokens{}) || talk.last.Usage.TotalTokens != 0 {
		t.Errorf("the SDK saw usage, or not the text:\n%s", indented(said))
	}
	if events < 3 {
		t.Errorf("%d chunks came", events)
	}
	recorded := u.recorded(t, 1)[0].answer(t, said)
	if want := (tokens{Input: 10, Output: 5, CacheRead: 3, CacheWrite: 2}); recorded.Tokens != want || recorded.ID != said.ID {
		t.Errorf("recorded is %+v for answer %s, want %+v for %s", recorded.Tokens, recorded.ID, want, said.ID)
	}
}

// TestCustomTool has the model call a tool whose input is text. The input of a tool call is JSON in a record, so this
// one is a JSON string.
func TestCustomTool(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(transfer(stream), func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			talk := openResponses(u.settings(sdks()[2], stream)).(*responsesTalk)
			talk.params.Tools = []responses.ToolUnionParam{{OfCustom: &responses.CustomToolParam{
				Name: "patch", Description: openai.String("Changes files."),
			}}}
			said, err := talk.ask(t.Context(), `[[tool: patch *** Begin "it"]]`)
			if err != nil {
				t.Fatal(err)
			}
			if len(said.Calls) != 1 || said.Calls[0].Input != `*** Begin "it"` {
				t.Fatalf("the SDK saw the calls %+v", said.Calls)
			}
			said.Calls[0].Input = `"*** Begin \"it\""`
			compare(t, u.recorded(t, 1)[0], said)
		})
	}
}
