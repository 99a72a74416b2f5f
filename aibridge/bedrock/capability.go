package bedrock

import "slices"

// capability is something of a request that Bedrock accepts for some models only: with any other model it refuses the whole
// request. A model that is not known counts as the newest one.
type capability struct {
	name     string
	since    version
	families []string // Which models have it from since on; nil: all.
}

// never is the version from which on a model has what none has.
var never = version{1 << 30, 0}

// isOf reports whether the model has the capability.
func (c capability) isOf(m model) bool {
	if c.since == never {
		return false
	}
	return !m.isKnown() || m.isAtLeast(c.since) && (c.families == nil || slices.Contains(c.families, m.family))
}

// topMembers are members of the request.
func topMembers() []capability {
	return []capability{
		{name: "context_management", since: version{4, 5}},
		{name: "output_config", since: version{4, 5}},
	}
}

// outputMembers are members of output_config.
func outputMembers() []capability {
	return []capability{
		{name: "effort", since: version{4, 6}},
		{name: "effort", since: version{4, 5}, families: []string{"opus"}},
	}
}

// toolMembers are members of a tool.
func toolMembers() []capability {
	return []capability{
		{name: "strict", since: version{4, 5}},
		{name: "defer_loading", since: version{4, 5}},
		{name: eager, since: never}, // Bedrock has a flag for it.
	}
}

const (
	// eager is the member of a tool that asks for its input as the model writes it.
	eager = "eager_input_streaming"
	// eagerBeta is the flag that asks the same for all tools.
	eagerBeta = "fine-grained-tool-streaming-2025-05-14"
)

// longCache is the ttl of a cache mark that is not the default.
func longCache() capability { return capability{name: "ttl", since: version{4, 5}} }

// betas are the flags of anthropic-beta that Bedrock accepts. It refuses a request with any other one, without saying which
// one it means, so others stay here unless [Options.Betas] has them.
func betas() []capability {
	return []capability{
		{name: "computer-use-2024-10-22", since: version{3, 5}},
		{name: "computer-use-2025-01-24", since: version{3, 7}},
		{name: "computer-use-2025-11-24", since: version{4, 5}},
		{name: "token-efficient-tools-2025-02-19", since: version{3, 7}},
		{name: "output-128k-2025-02-19", since: version{3, 7}},
		{name: "interleaved-thinking-2025-05-14", since: version{4, 0}},
		{name: "dev-full-thinking-2025-05-14", since: version{4, 0}},
		{name: eagerBeta, since: version{4, 0}},
		{name: "context-1m-2025-08-07", since: version{4, 0}, families: []string{"sonnet"}},
		{name: "context-1m-2025-08-07", since: version{4, 6}},
		{name: "context-management-2025-06-27", since: version{4, 5}},
		{name: "effort-2025-11-24", since: version{4, 5}, families: []string{"opus"}},
		{name: "effort-2025-11-24", since: version{4, 6}},
		{name: "tool-search-tool-2025-10-19", since: version{4, 5}},
		{name: "tool-examples-2025-10-29", since: version{4, 5}},
		{name: "compact-2026-01-12", since: version{4, 6}},
	}
}

// refused returns the names of the capabilities that the model does not have.
func refused(of []capability, m model) []string {
	var names []string
	for _, c := range of {
		if !accepts(of, c.name, m) && !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// accepts reports whether the model has a capability of that name.
func accepts(of []capability, name string, m model) bool {
	return slices.ContainsFunc(of, func(c capability) bool { return c.name == name && c.isOf(m) })
}
