package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// toolTurn is a turn in which the model calls the tool of an MCP server, one of the client's, or both.
type toolTurn struct {
	name    string
	ours    bool
	clients bool
}

func toolTurns() []toolTurn {
	return []toolTurn{{"ours", true, false}, {"own", false, true}, {"mixed", true, true}}
}

// remoteTool is a tool of an MCP server.
type remoteTool struct {
	server, name, input, result string
	url                         string
}

func (s *toolServers) remoteTools() []remoteTool {
	return []remoteTool{
		{"everything", "bmcp_everything_echo", `{"message":"hi"}`, "Echo: hi", s.url},
		{"go", "bmcp_go_greet", `{"name":"Ada"}`, "Hello, Ada.", s.stateless.URL},
	}
}

// TestTools has each SDK hold a conversation of three turns: with a tool of an MCP server, with one of its own, and with both
// in one answer. The SDK sees its own calls alone, and the model all results in their places.
func TestTools(t *testing.T) {
	for _, sdk := range sdks() {
		for _, stream := range []bool{false, true} {
			for _, tool := range equipped.tools.remoteTools() {
				t.Run(fmt.Sprintf("%s/%s/%s", sdk.name, transfer(stream), tool.server), func(t *testing.T) {
					t.Parallel()
					u := equipped.newUser(t)
					settings := u.settings(sdk, stream)
					settings.tools = []string{"pwd"}
					talk, began := sdk.open(settings), 0
					for _, turn := range toolTurns() {
						began += u.checkToolTurn(t, talk, turn, tool, began)
					}
				})
			}
		}
	}
}

// checkToolTurn has an SDK complete a turn, of which it returns the number of interceptions. There were before of them.
func (u *user) checkToolTurn(t *testing.T, talk talk, turn toolTurn, tool remoteTool, before int) int {
	t.Helper()
	typed := turn.script(tool, "[[tool: pwd {}]]")
	said, err := talk.ask(t.Context(), typed)
	if err != nil {
		t.Fatalf("%s: %v", turn.name, err)
	}
	n, final := 1, "I ask.It is done."
	if turn.clients {
		n++
		if len(said.Calls) != 1 || said.Calls[0].Tool != "pwd" || said.Text != "I ask." {
			t.Fatalf("%s: the SDK saw %s", turn.name, indented(said))
		}
		results := "/home/ada"
		if turn.ours {
			results = tool.result + "; " + results
		}
		first := said.Tokens
		if said, err = talk.reply(t.Context(), "/home/ada"); err != nil {
			t.Fatalf("%s: %v", turn.name, err)
		}
		said.Tokens.Input, said.Tokens.Output = said.Tokens.Input+first.Input, said.Tokens.Output+first.Output
		final = "The tool returned: " + results
	}
	if said.Text != final || len(said.Calls) != 0 {
		t.Errorf("%s: the SDK saw %s, want the text %q", turn.name, indented(said), final)
	}
	turn.check(t, u.recorded(t, before+n)[before:], tool, typed, said.Tokens)
	return n
}

// script returns what the model is told to do, where the client's own call is a directive.
func (turn toolTurn) script(tool remoteTool, own string) string {
	script := "Please. [[text: I ask.]] "
	if turn.ours {
		script += "[[tool: " + tool.name + " " + tool.input + "]] "
	}
	if turn.clients {
		return script + own
	}
	return script + "[[then]] [[text: It is done.]]"
}

// check compares what is recorded of a turn with what the client saw of it.
func (turn toolTurn) check(t *testing.T, recorded []interception, tool remoteTool, typed string, spent tokens) {
	t.Helper()
	var injected []toolUsage
	var counted tokens
	rounds, own := 0, 0
	for _, i := range recorded {
		if i.ErrorType != nil {
			t.Errorf("%s: recorded is %s", turn.name, indented(i))
		}
		rounds += len(i.TokenUsages)
		for _, usage := range i.TokenUsages {
			counted.Input += usage.InputTokens
			counted.Output += usage.OutputTokens
			counted.CacheRead += usage.CacheReadInputTokens
			counted.CacheWrite += usage.CacheWriteInputTokens
		}
		for _, usage := range i.ToolUsages {
			if usage.Injected {
				injected = append(injected, usage)
			} else {
				own++
			}
		}
	}
	if first := recorded[0]; len(first.Prompts) != 1 || first.Prompts[0].Prompt != typed {
		t.Errorf("%s: recorded are the prompts %s, typed was %q", turn.name, indented(first.Prompts), typed)
	}
	if rounds != 2 || counted != spent {
		t.Errorf("%s: recorded are %d answers that cost %+v, the client saw %+v", turn.name, rounds, counted, spent)
	}
	if (own == 1) != turn.clients || own > 1 || (len(injected) == 1) != turn.ours || len(injected) > 1 {
		t.Fatalf("%s: recorded are %d calls of the client's and %s", turn.name, own, indented(injected))
	}
	for _, use := range injected {
		if use.Tool != tool.name || use.Input != tool.input || use.ServerURL == nil || *use.ServerURL != tool.url || use.InvocationError != nil {
			t.Errorf("%s: recorded is the call %s", turn.name, indented(use))
		}
	}
}

// TestStatelessProtocol checks that a server without sessions is spoken to in the version of MCP that has none.
func TestStatelessProtocol(t *testing.T) {
	t.Parallel()
	u, sdk := equipped.newUser(t), sdks()[0]
	if _, err := sdk.open(u.settings(sdk, false)).ask(t.Context(), `[[tool: bmcp_go_greet {"name":"Ada"}]]`); err != nil {
		t.Fatal(err)
	}
	var spoken []any
	equipped.tools.spoken.Range(func(version, _ any) bool {
		spoken = append(spoken, version)
		return true
	})
	if len(spoken) != 1 || spoken[0] != "2026-07-28" {
		t.Errorf("the versions and sessions are %q", spoken)
	}
}

// slowTool takes 20 s.
const slowTool = `[[tool: bmcp_everything_trigger-long-running-operation {"duration":20,"steps":4}]]`

// TestSlowTool has a tool that takes 20 s. Meanwhile the stream has what each client knows as a sign of life.
func TestSlowTool(t *testing.T) {
	for format, test := range map[string]struct{ path, body, alive string }{
		"messages":  {"/anthropic/v1/messages", `{"model":"m","max_tokens":100,"stream":true,"messages":[{"role":"user","content":%q}]}`, "event: ping\n"},
		"chat":      {"/openai/v1/chat/completions", `{"model":"m","stream":true,"messages":[{"role":"user","content":%q}]}`, "\n: ping\n"},
		"responses": {"/openai/v1/responses", `{"model":"m","stream":true,"input":%q}`, "event: response.in_progress\n"},
	} {
		for _, script := range []string{slowTool, `[[tool: bmcp_everything_echo {"message":"hi"}]]`} {
			isSlow := script == slowTool
			t.Run(fmt.Sprintf("%s/%t", format, isSlow), func(t *testing.T) {
				t.Parallel()
				u := equipped.newUser(t)
				prompt := "[[text: I ask.]] " + strings.ReplaceAll(script, `"`, `\"`) + " [[then]] [[text: It is done.]]"
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, equipped.url+test.path,
					strings.NewReader(strings.Replace(test.body, "%q", `"`+prompt+`"`, 1)))
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Authorization", "Bearer "+u.token)
				response, err := u.http.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				answer, err := io.ReadAll(response.Body)
				if err != nil {
					t.Fatal(err)
				}
				signs := strings.Count("\n"+string(answer), test.alive)
				plain := map[string]int{"messages": 2, "chat": 0, "responses": 1}[format] // What fakellm sends itself.
				if (signs > plain) != isSlow || strings.Contains(string(answer), "bmcp_") || !strings.Contains(string(answer), "done.") {
					t.Errorf("%d signs of life in\n%s", signs, answer)
				}
				recorded := u.recorded(t, 1)[0]
				if use := recorded.ToolUsages; len(use) != 1 || !use[0].Injected || use[0].InvocationError != nil {
					t.Errorf("recorded is %s", indented(recorded))
				}
			})
		}
	}
}

// TestClaudeCodeTools has Claude Code hold one conversation of three turns: with a tool of an MCP server, with its own, and
// with both.
func TestClaudeCodeTools(t *testing.T) {
	t.Parallel()
	u := equipped.newUser(t)
	c := u.newClaude(t)
	session, began := uuid.NewString(), 0
	for n, turn := range toolTurns() {
		tool := equipped.tools.remoteTools()[n%2]
		typed := turn.script(tool, `[[tool: Bash {"command":"echo hi-from-bash"}]]`)
		as := []string{"--session-id", session}
		if n > 0 {
			as = []string{"--resume", session}
		}
		result := readClaude(t, c.run(t, append([]string{"-p", typed, "--allowedTools", "Bash", "--output-format", "json"}, as...)...))
		interceptions, want := 1, "It is done."
		if turn.clients {
			interceptions, want = 2, "The tool returned: hi-from-bash"
		}
		if turn.ours && turn.clients {
			want = "The tool returned: " + tool.result + "; hi-from-bash"
		}
		if result.Result != want || result.IsError || result.NumTurns != interceptions {
			t.Errorf("%s: Claude Code printed %+v, want %q", turn.name, result, want)
		}
		turn.check(t, u.recorded(t, began+interceptions)[began:], tool, typed, result.spent())
		began += interceptions
	}
}

// TestCodexTools has Codex hold the same conversation.
func TestCodexTools(t *testing.T) {
	t.Parallel()
	u := equipped.newUser(t)
	c := u.newCodex(t, equipped.url)
	session, began, before := "", 0, tokens{}
	for n, turn := range toolTurns() {
		tool := equipped.tools.remoteTools()[n%2]
		typed := turn.script(tool, `[[tool: exec text(await tools.exec_command({cmd:"echo hi-from-exec"}))]]`)
		args := []string{"exec", "--json", "--skip-git-repo-check", "--sandbox", "danger-full-access"}
		if n > 0 {
			args = append(args, "resume", session)
		}
		read := codexTurn(t, c.run(t, append(args, typed)...))
		if session == "" {
			session = read.session
		}
		interceptions := 1
		if turn.clients {
			interceptions = 2
		}
		if turn.clients != (read.output == "hi-from-exec\n") || turn.ours && turn.clients && !strings.Contains(read.said, tool.result) ||
			!turn.clients && !strings.HasSuffix(read.said, "It is done.") {
			t.Errorf("%s: Codex ran a command that printed %q, and says %q", turn.name, read.output, read.said)
		}
		all := read.spent // Codex counts those of the whole session.
		spent := tokens{
			all.Input - before.Input, all.Output - before.Output, all.CacheRead - before.CacheRead, all.CacheWrite - before.CacheWrite,
		}
		turn.check(t, u.recorded(t, began+interceptions)[began:], tool, typed, spent)
		began, before = began+interceptions, all
	}
}
