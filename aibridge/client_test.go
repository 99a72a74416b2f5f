package aibridge

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/clients"
	"github.com/coder/aibridged/internal/wire"
)

// TestRecogniseClient has a row for each row of the table, and some that two rows claim.
func TestRecogniseClient(t *testing.T) {
	for _, test := range []struct {
		name    string
		header  string // Lines of name: value.
		request wire.Request
		session string
	}{
		{"Claude Code", "User-Agent: claude-cli/2.1.330 (external, sdk-cli)\nX-Claude-Code-Session-Id: s1", wire.Request{}, "s1"},
		{"Claude Code", "User-Agent: Claude-CLI/2", wire.Request{UserID: `{"device_id":"d","session_id":"s2"}`}, "s2"},
		{"Claude Code", "User-Agent: claude-cli/1", wire.Request{UserID: "user_1_account_2_session_s3"}, "s3"},
		{"Claude Code", "User-Agent: claude-cli/2", wire.Request{UserID: `{"device_id":"d_session_x"}`}, ""},
		{"Codex", "User-Agent: codex_exec/0.169.0 (Linux)\nSession-Id: s1", wire.Request{CacheKey: "other"}, "s1"},
		{"Codex", "User-Agent: codex\nSession_id: s2", wire.Request{}, "s2"},
		{"Codex", "User-Agent: other\nOriginator: Codex_vscode", wire.Request{CacheKey: "s3"}, "s3"},
		{"OpenCode", "User-Agent: opencode/1.18\nX-Session-Id: s1\nX-Session-Affinity: s2", wire.Request{}, "s1"},
		{"OpenCode", "User-Agent: opencode/1.18\nX-Session-Affinity: s2", wire.Request{}, "s2"},
		{"OpenCode", "User-Agent: opencode/1.0\nX-OpenCode-Session: s3", wire.Request{}, "s3"},
		{"Kilo Code", "User-Agent: opencode/1.18\nX-Title: Kilo Code\nX-Session-Affinity: s1", wire.Request{}, "s1"},
		{"Kilo Code", "User-Agent: kilo/7.7\nX-KILOCODE-TASKID: s2", wire.Request{}, "s2"},
		{"Kilo Code", "Originator: kilo-code", wire.Request{}, ""},
		{"Qwen Code", "User-Agent: QwenCode/0.24", wire.Request{CacheKey: "qwen-code:s1"}, "s1"},
		{"Qwen Code", "User-Agent: claude-cli/2\nX-Claude-Code-Session-Id: no", wire.Request{System: "You are Qwen Code, an agent", CacheKey: "other"}, ""},
		{"GitHub Copilot (CLI)", "User-Agent: copilot/1.0\nX-Client-Session-Id: s1", wire.Request{CacheKey: "s2"}, "s1"},
		{"GitHub Copilot (CLI)", "User-Agent: OpenAI/JS 6\nX-Initiator: user", wire.Request{System: "You are the GitHub Copilot CLI, …", CacheKey: "s2"}, "s2"},
		{"GitHub Copilot (VS Code)", "User-Agent: GitHubCopilotChat/0.26\nX-Interaction-Id: s1", wire.Request{}, "s1"},
		{"Cline", "User-Agent: ai-sdk/openai/2", wire.Request{System: "You are Cline, a highly skilled"}, ""},
		{"Gemini CLI", "User-Agent: GeminiCLI/0.61", wire.Request{}, ""},
		{"Roo Code", "User-Agent: roo-code/3", wire.Request{}, ""},
		{"Roo Code", "Originator: roo-code", wire.Request{}, ""},
		{"Zed", "User-Agent: Zed/0.2", wire.Request{}, ""},
		{"Charm Crush", "User-Agent: Charm Crush/1", wire.Request{}, ""},
		{"Charm Crush", "User-Agent: Charm-Crush/1", wire.Request{}, ""},
		{"Mux", "User-Agent: mux/1\nX-Mux-Workspace-Id: s1", wire.Request{}, "s1"},
		{"Mux", "User-Agent: xum/1", wire.Request{}, ""},
		{"Coder Agents", "User-Agent: coder-agents/1\nX-Coder-Chat-Id: s1", wire.Request{}, "s1"},
		{"Junie", "User-Agent: Junie:1", wire.Request{}, ""},
		{"Cursor", "X-Cursor-Client-Version: 1.2", wire.Request{}, ""},
		{"OpenAI SDK (JS)", "User-Agent: OpenAI/JS 6.1", wire.Request{}, ""},
		{"OpenAI SDK (Go)", "User-Agent: OpenAI/Go 3.96.0", wire.Request{}, ""},
		{"OpenAI SDK (Python)", "User-Agent: OpenAI/Python 2", wire.Request{}, ""},
		{"Anthropic SDK (JS)", "User-Agent: Anthropic/JS 1", wire.Request{}, ""},
		{"Anthropic SDK (Go)", "User-Agent: Anthropic/Go 2.13.0", wire.Request{}, ""},
		{"Anthropic SDK (Python)", "User-Agent: Anthropic/Python 1", wire.Request{}, ""},
		{"Vercel AI SDK", "User-Agent: ai/6.0 ai-sdk/provider-utils", wire.Request{}, ""},
		{"Vercel AI SDK", "User-Agent: ai-sdk/anthropic/3", wire.Request{}, ""},
		{"Google GenAI SDK", "User-Agent: google-genai-sdk/1", wire.Request{}, ""},
		{"Unknown", "User-Agent: curl/8", wire.Request{CacheKey: "k", UserID: "u_session_x"}, ""},
		{"Unknown", "User-Agent:  ", wire.Request{}, ""},
		{"Unknown", "X-Cursor-Client-Version:  ", wire.Request{}, ""},
	} {
		header := http.Header{}
		for line := range strings.SplitSeq(test.header, "\n") {
			name, value, _ := strings.Cut(line, ":")
			header.Add(name, strings.TrimPrefix(value, " "))
		}
		client := recogniseClient(header, test.request)
		if client.Name != test.name {
			t.Errorf("%q: %s, want %s", test.header, client.Name, test.name)
		}
		if session := client.session(header, test.request); session != test.session {
			t.Errorf("%q: session %q, want %q", test.header, session, test.session)
		}
	}
}

// TestTyped checks which parts of a message count as typed by a person.
func TestTyped(t *testing.T) {
	const reminder = "<system-reminder>\nbe nice\n</system-reminder>"
	for _, test := range []struct {
		client string
		parts  []string // A single one is a string.
		want   string
	}{
		{"Claude Code", []string{reminder, "list the files", reminder}, "list the files"},
		{"Claude Code", []string{reminder + "\nlist"}, "list"},
		{"Claude Code", []string{"list\n\n" + reminder}, "list"},
		{"Claude Code", []string{"what is " + reminder + " for?"}, "what is " + reminder + " for?"},
		{"Claude Code", []string{"two", "parts"}, "two\nparts"},
		{"Claude Code", []string{"<environment_details>mine</environment_details>", "x"}, "<environment_details>mine</environment_details>\nx"},
		{"Claude Code", []string{reminder + " and " + reminder, "x"}, reminder + " and " + reminder + "\nx"},
		{"Claude Code", []string{" \n"}, ""},
		{"Codex", []string{"<environment_context>here</environment_context>"}, ""},
		{"Codex", []string{"<permissions instructions>…</permissions instructions>"}, ""},
		{"Kilo Code", []string{"do it", "<environment_details>…</environment_details>"}, "do it"},
		{"GitHub Copilot (CLI)", []string{"<current_datetime>2026-11-22</current_datetime>\n\ndo it"}, "do it"},
		{"GitHub Copilot (CLI)", []string{"<current_datetime>2026-11-22</current_datetime>\n\n"}, ""},
		{"GitHub Copilot (CLI)", []string{"do", "<current_datetime>mine</current_datetime>\nit"}, "do\n<current_datetime>mine</current_datetime>\nit"},
		{"Unknown", []string{reminder}, reminder},
		{"Unknown", []string{"  kept as typed \n"}, "  kept as typed \n"},
	} {
		c := &client{Name: clients.Unknown}
		if i := slices.IndexFunc(clients.Known, func(known clients.Client) bool { return known.Name == test.client }); i >= 0 {
			c = (*client)(&clients.Known[i])
		}
		request := wire.Request{Prompt: test.parts, PromptIsString: len(test.parts) == 1}
		if got := strings.Join(c.typed(request), "\n"); got != test.want {
			t.Errorf("%s, %q: %q, want %q", test.client, test.parts, got, test.want)
		}
	}
}

// TestTypedInParts has a message that is a list of one part. Nothing is stripped from that part: in a list, a client's
// blocks are parts of their own.
func TestTypedInParts(t *testing.T) {
	claude := recogniseClient(http.Header{"User-Agent": {"claude-cli/2"}}, wire.Request{})
	const pasted = "<system-reminder>mine</system-reminder>\nwhat is that?"
	if got := claude.typed(wire.Request{Prompt: []string{pasted}}); len(got) != 1 || got[0] != pasted {
		t.Errorf("got %q", got)
	}
}

// TestTypedBesideToolResults has a client's own texts, each a part: they are left out beside tool results only.
func TestTypedBesideToolResults(t *testing.T) {
	claude := recogniseClient(http.Header{"User-Agent": {"claude-cli/2"}}, wire.Request{})
	request := wire.Request{Prompt: []string{"Tool loaded.", "Tool loaded.", "stop"}, BesideToolResults: true}
	if got := claude.typed(request); len(got) != 1 || got[0] != "stop" {
		t.Errorf("got %q", got)
	}
	request.BesideToolResults = false
	if got := claude.typed(request); len(got) != 3 {
		t.Errorf("without results: %q", got)
	}
}

// TestGenerates is about prompts that clients make for themselves.
func TestGenerates(t *testing.T) {
	const title = "Generate a title for this conversation:\n"
	for _, test := range []struct {
		agent, opening, prompt string
		want                   bool
	}{
		{"opencode/1.18", title, "fix the bug", true},
		{"opencode/1.18", title, title + "\nfix the bug", true},
		{"opencode/1.18", "fix the bug", "fix the bug", false},
		{"curl/8", title, title, false},
		{"claude-cli/2", "hi", "CRITICAL: Respond with TEXT ONLY. Do not call any tools.", true},
	} {
		client := recogniseClient(http.Header{"User-Agent": {test.agent}}, wire.Request{})
		if client.generates(wire.Request{Opening: test.opening}, test.prompt) != test.want {
			t.Errorf("%+v", test)
		}
	}
}

// TestFixedTexts is about texts beside tool results that no person typed.
func TestFixedTexts(t *testing.T) {
	claude := recogniseClient(http.Header{"User-Agent": {"claude-cli/2"}}, wire.Request{})
	for text, want := range map[string]bool{
		"Tool loaded.":      true,
		"Tool loaded. And?": false,
		"CRITICAL: Respond with TEXT ONLY. Do not…": true,
		"stop": false,
	} {
		if claude.isFixed(text) != want {
			t.Errorf("isFixed(%q) = %t", text, !want)
		}
	}
}
