package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// newClaude returns Claude Code with the user's token for the gateway.
func (u *user) newClaude(t *testing.T) client {
	t.Helper()
	c := newClient(t, "claude")
	c.environment = append(c.environment, "ANTHROPIC_BASE_URL="+u.of.url+"/anthropic", "ANTHROPIC_AUTH_TOKEN="+u.token,
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1")
	return c
}

// claudeResult is what `claude -p --output-format json` prints.
type claudeResult struct {
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

func readClaude(t *testing.T, printed []string) claudeResult {
	t.Helper()
	var result claudeResult
	if err := json.Unmarshal([]byte(strings.Join(printed, "\n")), &result); err != nil {
		t.Fatalf("%v in %q", err, printed)
	}
	return result
}

// spent returns the tokens of all answers of the turn.
func (r claudeResult) spent() tokens {
	u := r.Usage
	return tokens{u.InputTokens, u.OutputTokens, u.CacheReadInputTokens, u.CacheCreationInputTokens}
}

// TestClaudeCode has Claude Code run a command.
func TestClaudeCode(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	c := u.newClaude(t)
	const input = `{"command":"echo hi-from-bash"}`
	const typed = `Run it. [[think: It wants to run.]] [[text: Looking.]] [[tool: Bash ` + input + `]]` +
		` [[usage: input=100 output=20 cache_read=30 cache_write=4 thinking=6]]`
	printed := c.run(t, "-p", typed, "--allowedTools", "Bash", "--output-format", "json")
	result := readClaude(t, printed)
	if result.Result != "The tool returned: hi-from-bash" || result.IsError || result.NumTurns != 2 {
		t.Errorf("Claude Code printed %q", printed)
	}
	if u := result.Usage; u.OutputTokens <= 20 || u.CacheReadInputTokens != 30 || u.CacheCreationInputTokens != 4 {
		t.Errorf("Claude Code saw the usage %+v, not that of both answers", u)
	}
	turn := agentTurn{
		user: u, client: "Claude Code", session: result.SessionID, provider: "anthropic", prompt: typed, thought: "It wants to run.",
		call: call{Tool: "Bash", Input: input}, tokens: result.spent(),
	}
	for _, i := range turn.check(t) {
		if !strings.HasPrefix(i.UserAgent, "claude-cli/") {
			t.Errorf("the user agent is %q", i.UserAgent)
		}
	}
}
