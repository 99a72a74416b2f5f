package rederive

// client is what is known of a client: how it is recognised, where it says which session a request is of, and what it
// puts around what a person typed.
type client struct {
	name     string
	agents   []string // Beginnings of its user agent, in lower case.
	headers  []mark
	system   string // Beginning of its system prompt.
	sessions []sessionSource
	wrappers []string // Tags of its blocks around a prompt.
	leading  string   // Tag of its line before one.
	fixed    []string // Beginnings of texts of its own beside results of tools.
	exact    []string // Such texts as a whole.
	own      []string // Beginnings of messages of calls that it makes for itself.
}

// mark is a header with the beginning of its value in lower case, empty for any.
type mark struct{ name, value string }

// sessionSource names a header, or a field of the request's body and how to read it.
type sessionSource struct {
	header string
	field  string
	read   func(string) string
}

// clients are the clients of the specification's table, in its order: the first that fits is the one, where they are
// equally specific.
func clients() []client {
	title := []string{"Generate a title for this conversation"}
	return []client{
		{
			name: "Claude Code", agents: []string{"claude"},
			sessions: []sessionSource{
				{header: "X-Claude-Code-Session-Id"}, {field: "metadata.user_id", read: sessionOfJSON}, {field: "metadata.user_id", read: sessionOfSuffix},
			},
			wrappers: []string{"system-reminder"},
			fixed:    []string{"CRITICAL: Respond with TEXT ONLY"}, exact: []string{"Tool loaded."},
			own: []string{"CRITICAL: Respond with TEXT ONLY"},
		},
		{
			name: "Codex", agents: []string{"codex"}, headers: []mark{{"Originator", "codex"}},
			sessions: []sessionSource{{header: "session-id"}, {header: "session_id"}, {field: "prompt_cache_key"}},
			wrappers: []string{"environment_context", "user_instructions", "permissions instructions", "skills_instructions"},
		},
		{
			name: "OpenCode", agents: []string{"opencode/"},
			sessions: []sessionSource{{header: "x-session-id"}, {header: "x-session-affinity"}, {header: "X-OpenCode-Session"}},
			own:      title,
		},
		{
			name: "Kilo Code", agents: []string{"kilo/", "kilo-code/"}, headers: []mark{{"Originator", "kilo-code"}, {"X-Title", "kilo code"}},
			sessions: []sessionSource{{header: "x-session-id"}, {header: "x-session-affinity"}, {header: "X-KILOCODE-TASKID"}},
			wrappers: []string{"environment_details"},
		},
		{
			name: "Qwen Code", agents: []string{"qwencode/"}, system: "You are Qwen Code",
			sessions: []sessionSource{{field: "prompt_cache_key", read: after("qwen-code:")}},
			wrappers: []string{"system-reminder"},
		},
		{
			name: "GitHub Copilot (CLI)", agents: []string{"copilot/"}, system: "You are the GitHub Copilot CLI",
			sessions: []sessionSource{{header: "X-Client-Session-Id"}, {field: "prompt_cache_key"}},
			leading:  "current_datetime",
		},
		{name: "GitHub Copilot (VS Code)", agents: []string{"githubcopilotchat/"}, sessions: []sessionSource{{header: "x-interaction-id"}}},
		{name: "Cline", system: "You are Cline", wrappers: []string{"environment_details"}},
		{name: "Gemini CLI", agents: []string{"geminicli"}},
		{name: "Roo Code", agents: []string{"roo-code/"}, headers: []mark{{"Originator", "roo-code"}}},
		{name: "Zed", agents: []string{"zed/"}},
		{name: "Charm Crush", agents: []string{"charm crush/", "charm-crush/"}},
		{name: "Mux", agents: []string{"mux/", "xum/"}, sessions: []sessionSource{{header: "X-Mux-Workspace-Id"}}},
		{name: "Coder Agents", agents: []string{"coder-agents/"}, sessions: []sessionSource{{header: "X-Coder-Chat-Id"}}},
		{name: "Junie", agents: []string{"junie:"}},
		{name: "Cursor", headers: []mark{{"X-Cursor-Client-Version", ""}}},
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
}
