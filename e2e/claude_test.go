package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestClaudeCode has Claude Code run a command.
func TestClaudeCode(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	turn := runClaude(t, u, "ANTHROPIC_BASE_URL="+program.url+"/anthropic", "ANTHROPIC_AUTH_TOKEN="+u.token)
	turn.provider, turn.hint = "anthropic", providerHint
	for _, i := range turn.check(t) {
		if !strings.HasPrefix(i.UserAgent, "claude-cli/") {
			t.Errorf("the user agent is %q", i.UserAgent)
		}
	}
}

// runClaude has Claude Code run a command for a user, with further variables in its environment. It returns what must be
// recorded of that, but for the provider.
func runClaude(t *testing.T, u *user, environment ...string) agentTurn {
	t.Helper()
	c := newClient(t, "claude")
	c.environment = append(append(c.environment, environment...), "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1")
	const input = `{"command":"echo hi-from-bash"}`
	const typed = `Run it. [[think: It wants to run.]] [[text: Looking.]] [[tool: Bash ` + input + `]]` +
		` [[usage: input=100 output=20 cache_read=30 cache_write=4 thinking=6]]`
	printed := c.run(t, "-p", typed, "--allowedTools", "Bash", "--output-format", "json")

	var result struct {
		Result    string `json:"result"`
		IsError   bool   `json:"is_error"`
		NumTurns  int    `json:"num_turns"`
		SessionID string `json:"session_id"`
		Usage     struct {
			InputTokens              int64 `json:"input_tokens"`
			OutputTokens             int64 `json:"output_tokens"`
			CacheReadInputTokens     int64 `json:"cache_read_input_tokens"`
			CacheCreationInputTokens int64 `json:"cache_creation_input_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal([]byte(strings.Join(printed, "\n")), &result); err != nil {
		t.Fatalf("%v in %q", err, printed)
	}
	if result.Result != "The tool returned: hi-from-bash" || result.IsError || result.NumTurns != 2 {
		t.Errorf("Claude Code printed %q", printed)
	}
	if u := result.Usage; u.OutputTokens <= 20 || u.CacheReadInputTokens != 30 || u.CacheCreationInputTokens != 4 {
		t.Errorf("Claude Code saw the usage %+v, not that of both answers", u)
	}
	return agentTurn{
		user: u, client: "Claude Code", session: result.SessionID, prompt: typed, thought: "It wants to run.",
		call: call{Tool: "Bash", Input: input},
		tokens: tokens{
			result.Usage.InputTokens, result.Usage.OutputTokens, result.Usage.CacheReadInputTokens, result.Usage.CacheCreationInputTokens,
		},
	}
}
