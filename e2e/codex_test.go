package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// codexEvent is a line of `codex exec --json`.
type codexEvent struct {
	Type     string `json:"type"`
	ThreadID string `json:"thread_id"`
	Item     struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Output   string `json:"aggregated_output"`
		ExitCode *int   `json:"exit_code"`
	} `json:"item"`
	Usage struct {
		InputTokens           int64 `json:"input_tokens"` // Including cached ones.
		CachedInputTokens     int64 `json:"cached_input_tokens"`
		CacheWriteInputTokens int64 `json:"cache_write_input_tokens"`
		OutputTokens          int64 `json:"output_tokens"`
		ReasoningOutputTokens int64 `json:"reasoning_output_tokens"`
	} `json:"usage"`
}

// newCodex returns Codex with the user's token for the gateway, which it reaches at url.
func (u *user) newCodex(t *testing.T, url string) client {
	t.Helper()
	c := newClient(t, "codex")
	config := fmt.Sprintf("model = \"gpt-6.1-sol\"\nopenai_base_url = %q\n", url+"/openai/v1")
	if err := os.WriteFile(filepath.Join(c.home, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c.environment = append(c.environment, "CODEX_HOME="+c.home, "CODEX_API_KEY="+u.token)
	return c
}

// TestCodex has Codex run a command, with its own provider at another base URL. Codex asks for a WebSocket first, and
// the answer's status decides whether it turns to HTTP at once.
func TestCodex(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	front, err := newTap(program.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(front.Close)
	c := u.newCodex(t, front.URL)
	const input = `text(await tools.exec_command({cmd:"echo hi-from-exec"}))`
	const typed = `Run it. [[think: It wants to run.]] [[tool: exec ` + input + `]]` +
		` [[usage: input=100 output=20 cache_read=30 cache_write=4 thinking=6]]`
	// The sandbox does not run within every container, and a gateway cannot affect it.
	printed := c.run(t, "exec", "--json", "--skip-git-repo-check", "--sandbox", "danger-full-access", typed)

	turn := agentTurn{user: u, client: "Codex", provider: "openai", prompt: typed, thought: "It wants to run."}
	// The input is text, and therefore a JSON string in the record.
	quoted, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	turn.call = call{Tool: "exec", Input: string(quoted)}
	read := codexTurn(t, printed)
	if read.output != "hi-from-exec\n" || !strings.HasPrefix(read.said, "The tool returned: ") || !strings.Contains(read.said, "hi-from-exec") {
		t.Errorf("Codex ran a command that printed %q, and says %q", read.output, read.said)
	}
	if read.thinking != 6 || read.spent.CacheRead+read.spent.CacheWrite != 34 || read.spent.Output <= 20 {
		t.Errorf("Codex saw the usage %+v, not that of both answers", read)
	}
	turn.session, turn.tokens = read.session, read.spent
	for _, i := range turn.check(t) {
		if !strings.HasPrefix(i.UserAgent, "codex_exec/") {
			t.Errorf("the user agent is %q", i.UserAgent)
		}
	}
	checkCodexRequests(t, front.take())
}

// codexRead is what Codex printed of a turn.
type codexRead struct {
	session      string
	output, said string // Of the commands, and of the model.
	spent        tokens // As Codex counted them.
	thinking     int64
}

// codexTurn reads what Codex printed. It fails the test if the turn or a command failed.
func codexTurn(t *testing.T, printed []string) (read codexRead) {
	t.Helper()
	for _, line := range printed {
		var event codexEvent
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		switch event.Type + " " + event.Item.Type {
		case "thread.started ":
			read.session = event.ThreadID
		case "item.completed command_execution":
			read.output += event.Item.Output
			if event.Item.ExitCode == nil || *event.Item.ExitCode != 0 {
				t.Errorf("the command failed: %s", line)
			}
		case "item.completed agent_message":
			read.said += event.Item.Text
		case "turn.completed ":
			usage := event.Usage
			cached := usage.CachedInputTokens + usage.CacheWriteInputTokens
			read.spent = tokens{usage.InputTokens - cached, usage.OutputTokens, usage.CachedInputTokens, usage.CacheWriteInputTokens}
			read.thinking = usage.ReasoningOutputTokens
		case "turn.failed ", "error ":
			t.Errorf("Codex failed: %s", line)
		}
	}
	return read
}

// checkCodexRequests checks that Codex asked once for a WebSocket, was refused with the status that it expects, and
// went on with HTTP.
func checkCodexRequests(t *testing.T, requests []passed) {
	t.Helper()
	var upgrades, turns int
	for _, r := range requests {
		switch {
		case strings.EqualFold(r.header.Get("Upgrade"), "websocket"):
			upgrades++
			if r.status != http.StatusUpgradeRequired || turns > 0 {
				t.Errorf("a WebSocket at %s is answered with %d, after %d requests over HTTP", r.target, r.status, turns)
			}
		case r.method == http.MethodPost && strings.HasSuffix(r.target, "/v1/responses"):
			turns++
			if r.status != http.StatusOK {
				t.Errorf("%s is answered with %d", r.target, r.status)
			}
		}
	}
	if upgrades != 1 || turns != 2 {
		t.Errorf("Codex asked %d times for a WebSocket and %d times for an answer, want once and twice", upgrades, turns)
	}
}
