package aibridge_test

import (
	"testing"

	"github.com/coder/aibridged/aibridge"
)

// TestToolsOfOthers has the provider call a tool of an MCP server that it knows itself, with the name of one of the gateway's.
func TestToolsOfOthers(t *testing.T) {
	up := &answers{all: []string{`{"type":"message","id":"m","content":[{"type":"mcp_tool_use","id":"t","name":"bmcp_docs_x","server_name":"theirs","input":{}}],"stop_reason":"end_turn"}`}}
	_, recorder := askWith(t, up, aibridge.BridgeOptions{Tools: &tools{names: []string{"bmcp_docs_x"}}}, askBlocking)
	if uses := recordsOf[*aibridge.ToolUsage](recorder); len(uses) != 1 || uses[0].Injected || uses[0].InvocationError != "" || len(up.requests()) != 1 {
		t.Errorf("recorded %+v", uses)
	}
}
