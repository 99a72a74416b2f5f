package aibridge

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/wire"
)

// toolPrefix begins the name of each tool of the gateway.
const toolPrefix = "bmcp_"

// toolSet is the tools that a conversation began with. It is immutable and safe for concurrent use.
type toolSet struct {
	tools   []mcp.Tool
	byName  map[string]*mcp.Tool
	written sync.Map    // Of each format, by its Tooling: the tools as its requests have them, nil where it cannot have one.
	warned  atomic.Bool // That there are more tools than a request may have.
}

func newToolSet(tools []mcp.Tool) *toolSet {
	s := &toolSet{tools: tools, byName: make(map[string]*mcp.Tool, len(tools))}
	for i := range tools {
		s.byName[tools[i].ID] = &tools[i]
	}
	return s
}

// isFrom reports whether the set is of these tools, which mostly are the same slice as before.
func (s *toolSet) isFrom(tools []mcp.Tool) bool {
	return len(s.tools) == len(tools) && (len(tools) == 0 || &s.tools[0] == &tools[0])
}

// in returns the tools as the requests of a format have them.
func (s *toolSet) in(format *wire.Tooling) [][]byte {
	if written, ok := s.written.Load(format); ok {
		return written.([][]byte)
	}
	written := make([][]byte, len(s.tools))
	for i, tool := range s.tools {
		written[i] = format.Write(wire.Tool{Name: tool.ID, Description: tool.Description, Schema: tool.InputSchema})
	}
	s.written.Store(format, written)
	return written
}

// offer returns at most that many tools as the requests of a format have them, without those whose names the client's own
// tools have, and whether there were more.
func (s *toolSet) offer(format *wire.Tooling, most int, own map[string]bool) (offered [][]byte, capped bool) {
	for i, written := range s.in(format) {
		switch {
		case written == nil || own[s.tools[i].ID]:
		case len(offered) >= most:
			return offered, true
		default:
			offered = append(offered, written)
		}
	}
	return offered, false
}

// mayBeOurs reports whether the name of a tool of the gateway can begin so.
func mayBeOurs(beginning string) bool {
	return strings.HasPrefix(beginning, toolPrefix) || strings.HasPrefix(toolPrefix, beginning)
}

// isOurs reports whether a call of the tool with that name is for the gateway. Models also call tools that they were not
// told of; if the name could be of ours, that call fails here, and not at a client that knows nothing of it.
func (s *toolSet) isOurs(name string, own map[string]bool) bool {
	return strings.HasPrefix(name, toolPrefix) && !own[name]
}
