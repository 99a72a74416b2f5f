package aibridge

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// toolPrefix begins the name of each tool of the gateway.
const toolPrefix = "bmcp_"

// toolSet is the tools that a conversation began with. It is immutable and safe for concurrent use.
type toolSet struct {
	tools   []mcp.Tool
	byName  map[string]*mcp.Tool
	written sync.Map    // By writtenFor: a *writtenTools.
	warned  atomic.Bool // That there are more tools than a request may have.
}

// writtenFor is what tools are written for: each provider has its own opinion of them.
type writtenFor struct{ format, provider string }

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

// writtenTools is a set's tools as the requests to a provider in a format have them. It is immutable.
type writtenTools struct {
	elements [][]byte // Of each tool of the set; nil: it cannot be, or was refused.
	// all is what offers all that there are, which is what nearly every request has.
	all offer
}

// offer is what a request offers to the model.
type offer struct {
	names    []string
	elements []byte // JSON, with commas between.
}

func (s *toolSet) newWritten(elements [][]byte) *writtenTools {
	w := &writtenTools{elements: elements}
	var all [][]byte
	for i, element := range elements {
		if element != nil {
			w.all.names, all = append(w.all.names, s.tools[i].ID), append(all, element)
		}
	}
	w.all.elements = jsonedit.Join(all...)
	return w
}

// in returns the tools as the requests to a provider in a format have them.
func (s *toolSet) in(of writtenFor, tooling *wire.Tooling) *writtenTools {
	if known, ok := s.written.Load(of); ok {
		return known.(*writtenTools)
	}
	elements := make([][]byte, len(s.tools))
	for i, tool := range s.tools {
		elements[i] = tooling.Write(wire.Tool{Name: tool.ID, Description: tool.Description, Schema: tool.InputSchema})
	}
	stored, _ := s.written.LoadOrStore(of, s.newWritten(elements))
	return stored.(*writtenTools)
}

// refuse leaves a tool out of all later requests to a provider in a format.
func (s *toolSet) refuse(of writtenFor, tooling *wire.Tooling, name string) {
	for {
		before := s.in(of, tooling)
		without := slices.Clone(before.elements)
		for i := range s.tools {
			if s.tools[i].ID == name {
				without[i] = nil
			}
		}
		if s.written.CompareAndSwap(of, before, s.newWritten(without)) {
			return
		}
	}
}

// offer returns at most that many tools, without those whose names the client's own tools have, and whether there were more.
// The caller does not change what it returns.
func (s *toolSet) offer(of writtenFor, tooling *wire.Tooling, most int, own map[string]bool) (offered offer, capped bool) {
	in := s.in(of, tooling)
	if len(in.all.names) <= most && len(own) == 0 {
		return in.all, false
	}
	var elements [][]byte
	for i, element := range in.elements {
		if element == nil || own[s.tools[i].ID] {
			continue
		}
		if capped = len(elements) >= most; capped {
			break
		}
		offered.names, elements = append(offered.names, s.tools[i].ID), append(elements, element)
	}
	offered.elements = jsonedit.Join(elements...)
	return offered, capped
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
