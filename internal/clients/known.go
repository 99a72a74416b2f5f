package clients

// Known is the table of the clients that are told apart. Their marks were seen on the wire in November 2026, except
// those that a comment calls older. No code changes it.
var Known = []Client{
	{
		Name: "Claude Code", Agents: []string{"claude"},
		Sessions: []Session{
			{Header: "X-Claude-Code-Session-Id"},
			{Field: UserID, Member: "session_id"},
			{Field: UserID, Marker: "_session_"}, // Older.
		},
		Wrappers:        []string{"system-reminder"},
		FixedTexts:      []string{"Tool loaded."},
		FixedBeginnings: []string{"CRITICAL: Respond with TEXT ONLY"},
		Own:             []string{"CRITICAL: Respond with TEXT ONLY"},
	},
	{
		Name: "Codex", Agents: []string{"codex"}, Headers: []HeaderMark{{"Originator", "codex"}},
		Sessions: []Session{
			{Header: "Session-Id"},
			{Header: "Session_id"}, // Older.
			{Field: CacheKey},
		},
		Wrappers: []string{"environment_context", "user_instructions", "permissions instructions", "skills_instructions"},
	},
	{
		Name: "OpenCode", Agents: []string{"opencode/"},
		Sessions: []Session{
			{Header: "X-Session-Id"},
			{Header: "X-Session-Affinity"},
			{Header: "X-Opencode-Session"}, // Older.
		},
		Own: []string{"Generate a title for this conversation"},
	},
	{
		Name: "Kilo Code", Agents: []string{"kilo/", "kilo-code/"},
		Headers: []HeaderMark{{"X-Title", "kilo code"}, {"Originator", "kilo-code"}},
		Sessions: []Session{
			{Header: "X-Session-Id"},
			{Header: "X-Session-Affinity"},
			{Header: "X-Kilocode-Taskid"}, // Older.
		},
		Wrappers: []string{"environment_details"},
	},
	{
		Name: "Qwen Code", Agents: []string{"qwencode/"}, System: "You are Qwen Code",
		Sessions: []Session{{Field: CacheKey, Prefix: "qwen-code:"}},
		Wrappers: []string{"system-reminder"},
	},
	{
		Name: "GitHub Copilot (CLI)", Agents: []string{"copilot/"}, System: "You are the GitHub Copilot CLI",
		Sessions: []Session{{Header: "X-Client-Session-Id"}, {Field: CacheKey}},
		Leading:  "current_datetime",
	},
	{Name: "Cline", System: "You are Cline", Wrappers: []string{"environment_details"}},
	{Name: "Gemini CLI", Agents: []string{"geminicli"}},

	// Older marks, of clients not seen lately.
	{Name: "GitHub Copilot (VS Code)", Agents: []string{"githubcopilotchat/"}, Sessions: []Session{{Header: "X-Interaction-Id"}}},
	{Name: "Roo Code", Agents: []string{"roo-code/"}, Headers: []HeaderMark{{"Originator", "roo-code"}}},
	{Name: "Zed", Agents: []string{"zed/"}},
	{Name: "Charm Crush", Agents: []string{"charm crush/", "charm-crush/"}},
	{Name: "Mux", Agents: []string{"mux/", "xum/"}, Sessions: []Session{{Header: "X-Mux-Workspace-Id"}}},
	{Name: "Coder Agents", Agents: []string{"coder-agents/"}, Sessions: []Session{{Header: "X-Coder-Chat-Id"}}},
	{Name: "Junie", Agents: []string{"junie:"}},
	{Name: "Cursor", Headers: []HeaderMark{{"X-Cursor-Client-Version", ""}}},

	// SDKs, for programs that no row above recognises.
	{Name: "OpenAI SDK (JS)", Agents: []string{"openai/js"}},
	{Name: "OpenAI SDK (Go)", Agents: []string{"openai/go"}},
	{Name: "OpenAI SDK (Python)", Agents: []string{"openai/python"}},
	{Name: "OpenAI SDK", Agents: []string{"openai/"}},
	{Name: "Anthropic SDK (JS)", Agents: []string{"anthropic/js"}},
	{Name: "Anthropic SDK (Go)", Agents: []string{"anthropic/go"}},
	{Name: "Anthropic SDK (Python)", Agents: []string{"anthropic/python"}},
	{Name: "Anthropic SDK", Agents: []string{"anthropic/"}},
	{Name: "Vercel AI SDK", Agents: []string{"ai/", "ai-sdk"}},
	{Name: "Google GenAI SDK", Agents: []string{"google-genai-sdk/"}},
}
