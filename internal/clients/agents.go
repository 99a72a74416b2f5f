package clients

// SubAgent describes how a client says that one of its sub-agents asks, and for whom. The headers name agents, not people.
type SubAgent struct {
	// Agent is the header with the sub-agent's id, Parent that with the id of the agent that started it, Kind that with
	// the kind of sub-agent. An empty one does not exist.
	Agent, Parent, Kind string
	// AgentOfAll says that requests of the main agent have an id in Agent too: only another header tells a sub-agent.
	AgentOfAll bool
}

// SubAgents is the table of the ways in which clients name sub-agents. A row counts for any client: forks and SDKs send
// these headers too. Of several rows that fit, the first one counts. No code changes it.
var SubAgents = []SubAgent{
	// Claude Code.
	{Agent: "X-Claude-Code-Agent-Id", Parent: "X-Claude-Code-Parent-Agent-Id"},
	// Codex.
	{Agent: "Thread-Id", Parent: "X-Codex-Parent-Thread-Id", Kind: "X-Openai-Subagent", AgentOfAll: true},
	// GitHub Copilot.
	{Agent: "X-Agent-Task-Id", Parent: "X-Parent-Agent-Id", AgentOfAll: true},
	// OpenCode and Kilo Code, whose sub-agents are sessions.
	{Agent: "X-Session-Id", Parent: "X-Parent-Session-Id", AgentOfAll: true},
}

// The names in a start's metadata of what [SubAgents] finds.
const (
	AgentID       = "agent_id"
	ParentAgentID = "parent_agent_id"
	AgentKind     = "agent_kind"
)
