package chat

import (
	"slices"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

func tooling() *wire.Tooling {
	return &wire.Tooling{
		Write: writeTool, Free: isFree, Name: toolName, Opening: opening,
		Length: length, Keys: keys, Restore: restore, Join: newJoint,
	}
}

// writeTool returns nil for a tool whose schema is not that of an object.
func writeTool(tool wire.Tool) []byte {
	schema := wire.ToolSchema(tool.Schema)
	if schema == nil {
		return nil
	}
	written := gjson.AppendJSONString([]byte(`{"type":"function","function":{"name":`), tool.Name)
	if tool.Description != "" {
		written = gjson.AppendJSONString(append(written, `,"description":`...), tool.Description)
	}
	written = append(append(written, `,"parameters":`...), schema...)
	return append(written, `}}`...)
}

func isFree(body jsonedit.Object) bool {
	for _, name := range [...]string{"functions", "function_call", "thread"} {
		if wire.Has(body, name) {
			return false
		}
	}
	if messages, _ := body.Get("messages"); !wire.IsArray(messages) {
		return false
	}
	if choice, _ := body.Get("tool_choice"); wire.Has(body, "tool_choice") && wire.View(choice).Str != "auto" {
		return false
	}
	if n, _ := body.Get("n"); wire.Has(body, "n") && wire.View(n).Num != 1 {
		return false
	}
	if tools, _ := body.Get("tools"); wire.Has(body, "tools") && !wire.IsArray(tools) {
		return false
	}
	return body.Elements("tools").Len() > 0 || !isStructured(body) && !isProbe(body)
}

// isStructured reports whether a request asks for an answer of a certain form, in the words of the API or of servers that
// copy it.
func isStructured(body jsonedit.Object) bool {
	format, _ := body.Get("response_format")
	switch wire.View(format).Get("type").Str {
	case "", "text":
	default:
		return true
	}
	return slices.ContainsFunc([]string{
		"guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "grammar", "json_schema", "regex", "ebnf",
	}, func(name string) bool { return wire.Has(body, name) })
}

// isProbe reports whether a request has room for no more than a token of an answer.
func isProbe(body jsonedit.Object) bool {
	for _, name := range [...]string{"max_tokens", "max_completion_tokens"} {
		if most, _ := body.Get(name); wire.Has(body, name) && wire.View(most).Num <= 1 {
			return true
		}
	}
	return false
}

func toolName(tool gjson.Result) string {
	if name := wire.Kept(tool.Get("function.name")); name != "" {
		return name
	}
	return wire.Kept(tool.Get("custom.name"))
}

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
