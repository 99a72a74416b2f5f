package responses

import (
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// tooling returns what the format does with tools of the gateway. They stand behind the client's, so that the provider's
// cache of what the client always sends holds as long as possible.
func tooling() *wire.Tooling {
	return &wire.Tooling{
		Write: writeTool, Free: isFree, Name: toolName, Opening: opening,
		Length: length, Keys: keys, Chain: chain, Restore: restore, Join: newJoint,
	}
}

// writeTool implements [wire.Tooling].Write. By default the API makes schemas strict, which most are not written for.
func writeTool(tool wire.Tool) []byte {
	schema := wire.ToolSchema(tool.Schema)
	if schema == nil {
		return nil
	}
	written := appendText([]byte(`{"type":"function","name":`), tool.Name)
	if tool.Description != "" {
		written = appendText(append(written, `,"description":`...), tool.Description)
	}
	written = append(append(written, `,"parameters":`...), schema...)
	return append(written, `,"strict":false}`...)
}

// isFree implements [wire.Tooling].Free. An answer in a prescribed form, and a probe for one token, are for a program that
// knows no tools, unless the client has some itself. Tools would take the place of those of a saved prompt.
func isFree(body jsonedit.Object) bool {
	tools, _ := body.Get("tools")
	hasTools := wire.Has(body, "tools")
	background, _ := body.Get("background")
	switch {
	case hasTools && !wire.IsArray(tools),
		wire.Has(body, "tool_choice") && memberText(body, "tool_choice") != "auto",
		string(background) == "true",
		wire.Has(body, "prompt") && !hasTools:
		return false
	case body.Elements("tools").Len() > 0:
		return true
	}
	limit, _ := body.Get("max_output_tokens")
	if most := wire.View(limit); most.Type == gjson.Number && most.Num <= 1 {
		return false
	}
	text, _ := body.Get("text")
	return !strings.HasPrefix(wire.View(text).Get("format.type").Str, "json")
}

// toolName implements [wire.Tooling].Name. Hosted tools have no name.
func toolName(tool gjson.Result) string { return wire.Kept(tool.Get("name")) }

// opening implements [wire.Tooling].Opening.
func opening(body jsonedit.Object) (text string, begins bool) {
	begins = !wire.Has(body, "previous_response_id") && !wire.Has(body, "conversation")
	if input, _ := body.Get("input"); !wire.IsArray(input) {
		return wire.Kept(wire.View(input)), begins
	}
	items, found := body.Elements("input"), false
	for i := 0; i < items.Len() && (begins || !found); i++ {
		switch role, kind := wire.Role(items.At(i)); {
		case isOfModel(role, kind):
			begins = false
		case !found && role == "user":
			text, found = wire.Identity(items.At(i)), true
		}
	}
	return text, begins
}

// openingOf returns what reads the opening from the body when it is first called.
func openingOf(body jsonedit.Object) func() string {
	return sync.OnceValue(func() string {
		text, _ := opening(body)
		return text
	})
}

func isModels(item gjson.Result) bool { return isOfModel(item.Get("role").Str, item.Get("type").Str) }

// isOfModel reports whether an item of a request is one that a model made in an earlier answer.
func isOfModel(role, kind string) bool {
	switch kind {
	case "", "message":
		return role == "assistant"
	case "reasoning", "item_reference", "compaction", "compaction_summary", "mcp_list_tools":
		return true
	default:
		return isCall(kind)
	}
}

// memberText returns a member that is a string, or "".
func memberText(object jsonedit.Object, name string) string {
	value, _ := object.Get(name)
	return wire.String(wire.View(value))
}
