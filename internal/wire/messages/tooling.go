package messages

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// tooling returns what the format does with tools of the gateway. They stand before the client's, so that the client's
// cache marks keep their places behind all that they cover.
func tooling() *wire.Tooling {
	return &wire.Tooling{
		Write: writeTool, First: true, Free: isFree, Name: toolName, Opening: opening,
		Length: length, Keys: keys, Restore: restore, Join: newJoint,
	}
}

// writeTool implements [wire.Tooling].Write.
func writeTool(tool wire.Tool) []byte {
	schema := wire.ToolSchema(tool.Schema)
	if schema == nil {
		return nil
	}
	written := gjson.AppendJSONString([]byte(`{"name":`), tool.Name)
	if tool.Description != "" {
		written = gjson.AppendJSONString(append(written, `,"description":`...), tool.Description)
	}
	return append(append(append(written, `,"input_schema":`...), schema...), '}')
}

// isFree implements [wire.Tooling].Free. A probe for one token, and an answer in a form that the client prescribes, are for
// a program that knows no tools, unless the client has some itself.
func isFree(body jsonedit.Object) bool {
	choice, _ := body.Get("tool_choice")
	if kind := wire.View(choice); kind.Exists() && kind.Type != gjson.Null && kind.Get("type").Str != "auto" {
		return false
	}
	messages, _ := body.Get("messages")
	tools, _ := body.Get("tools")
	if !wire.IsArray(messages) || wire.Has(body, thread) || wire.Has(body, "tools") && !wire.IsArray(tools) {
		return false
	}
	if body.Elements("tools").Len() > 0 {
		return true
	}
	limit, _ := body.Get("max_tokens")
	if most := wire.View(limit); most.Type == gjson.Number && most.Num <= 1 {
		return false
	}
	config, _ := body.Get("output_config")
	format := wire.View(config).Get("format")
	return !wire.Has(body, "output_format") && (!format.Exists() || format.Type == gjson.Null)
}

func toolName(tool gjson.Result) string { return wire.String(tool.Get("name")) }

// opening implements [wire.Tooling].Opening.
func opening(body jsonedit.Object) (text string, begins bool) {
	messages := body.Elements("messages")
	found := false
	for i := range messages.Len() {
		switch role, _ := wire.Role(messages.At(i)); role {
		case "assistant":
			return text, false
		case "user":
			if !found {
				text, found = wire.Identity(messages.At(i)), true
			}
		}
	}
	return text, true
}
