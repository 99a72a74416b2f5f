package aibridge

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/wire"
)

const unknownClient = "Unknown"

// knownClients is the table of the clients that are told apart, seen on the wire in November 2026 where no comment says
// that a mark is an older one. The first row that fits counts. It is data, and never changed.
var knownClients = []client{
	{
		name: "Qwen Code", agents: []string{"qwencode/"}, system: "You are Qwen Code",
		sessions: []sessionSource{cacheKeyAfter("qwen-code:")},
		wrappers: []string{"system-reminder"},
	},
	{
		name: "GitHub Copilot (CLI)", agents: []string{"copilot/"}, system: "You are the GitHub Copilot CLI",
		sessions: []sessionSource{headerSession("X-Client-Session-Id"), cacheKey},
		leading:  []string{"current_datetime"},
	},
	{
		name: "Cline", system: "You are Cline",
		wrappers: []string{"environment_details"},
	},
	{
		name: "Kilo Code", agents: []string{"kilo/", "kilo-code/"},
		headers: []headerMark{{"X-Title", "Kilo Code"}, {"Originator", "kilo-code"}},
		sessions: []sessionSource{
			headerSession("X-Session-Id"), headerSession("X-Session-Affinity"),
			headerSession("X-Kilocode-Taskid"), // Older.
		},
		wrappers: []string{"environment_details"},
	},
	{
		name: "Claude Code", agents: []string{"claude"},
		sessions: []sessionSource{headerSession("X-Claude-Code-Session-Id"), claudeUserID},
		wrappers: []string{"system-reminder"},
		fixed:    []string{"Tool loaded.", "CRITICAL: Respond with TEXT ONLY*"},
		own:      []string{"CRITICAL: Respond with TEXT ONLY"},
	},
	{
		name: "Codex", agents: []string{"codex"}, headers: []headerMark{{"Originator", "codex"}},
		sessions: []sessionSource{
			headerSession("Session-Id"),
			headerSession("Session_id"), // Older.
			cacheKey,
		},
		wrappers: []string{"environment_context", "user_instructions", "permissions instructions", "skills_instructions"},
	},
	{
		name: "OpenCode", agents: []string{"opencode/"},
		sessions: []sessionSource{
			headerSession("X-Session-Id"), headerSession("X-Session-Affinity"),
			headerSession("X-Opencode-Session"), // Older.
		},
		own: []string{"Generate a title for this conversation"},
	},
	{name: "Gemini CLI", agents: []string{"geminicli"}},

	// Older marks, of clients not seen lately.
	{
		name: "GitHub Copilot (VS Code)", agents: []string{"githubcopilotchat/"},
		sessions: []sessionSource{headerSession("X-Interaction-Id")},
	},
	{name: "Roo Code", agents: []string{"roo-code/"}, headers: []headerMark{{"Originator", "roo-code"}}},
	{name: "Zed", agents: []string{"zed/"}},
	{name: "Charm Crush", agents: []string{"charm crush/", "charm-crush/"}},
	{name: "Mux", agents: []string{"mux/", "xum/"}, sessions: []sessionSource{headerSession("X-Mux-Workspace-Id")}},
	{name: "Coder Agents", agents: []string{"coder-agents/"}, sessions: []sessionSource{headerSession("X-Coder-Chat-Id")}},
	{name: "Junie", agents: []string{"junie:"}},
	{name: "Cursor", headers: []headerMark{{"X-Cursor-Client-Version", ""}}},

	// SDKs, under whatever program uses them.
	{name: "OpenAI SDK (JS)", agents: []string{"openai/js"}},
	{name: "OpenAI SDK (Go)", agents: []string{"openai/go"}},
	{name: "OpenAI SDK (Python)", agents: []string{"openai/python"}},
	{name: "OpenAI SDK", agents: []string{"openai/"}},
	{name: "Anthropic SDK (JS)", agents: []string{"anthropic/js"}},
	{name: "Anthropic SDK (Go)", agents: []string{"anthropic/go"}},
	{name: "Anthropic SDK (Python)", agents: []string{"anthropic/python"}},
	{name: "Anthropic SDK", agents: []string{"anthropic/"}},
	{name: "Vercel AI SDK", agents: []string{"ai/", "ai-sdk"}},
	{name: "Google GenAI SDK", agents: []string{"google-genai-sdk/"}},
}

func headerSession(name string) sessionSource {
	return func(header http.Header, _ wire.Request) string {
		if values := header[name]; len(values) > 0 { // By its exact form: one older name has an underscore.
			return values[0]
		}
		return ""
	}
}

func cacheKey(_ http.Header, request wire.Request) string { return request.CacheKey }

func cacheKeyAfter(prefix string) sessionSource {
	return func(_ http.Header, request wire.Request) string {
		id, ok := strings.CutPrefix(request.CacheKey, prefix)
		if !ok {
			return ""
		}
		return id
	}
}

// claudeUserID reads the session out of a user id that is JSON in a string, or, older, ends in the session.
func claudeUserID(_ http.Header, request wire.Request) string {
	var user struct {
		SessionID string `json:"session_id"`
	}
	if json.Unmarshal([]byte(request.UserID), &user) == nil {
		return user.SessionID
	}
	if at := strings.LastIndex(request.UserID, "_session_"); at >= 0 {
		return request.UserID[at+len("_session_"):]
	}
	return ""
}
