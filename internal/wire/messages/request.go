package messages

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// thread is the member that names a conversation which the upstream keeps: it has the model and earlier messages.
const thread = "thread"

func inspect(body jsonedit.Object) (wire.Request, error) {
	request, err := wire.ReadRequest(body, thread, "models", "preset")
	if err != nil {
		return wire.Request{}, err
	}
	if messages, _ := body.Get("messages"); !wire.IsArray(messages) && (wire.Has(body, "messages") || !wire.Has(body, thread)) {
		return wire.Request{}, wire.Invalid("messages: an array is required")
	}
	if system, ok := body.Get("system"); ok {
		request.System = wire.Head(wire.View(system))
	}
	messages := body.Elements("messages")
	request.Opening = wire.Opening(messages)
	last := wire.LastMessage(messages)
	content := last.Get("content")
	if last.Get("role").Str == "user" {
		request.ReadPrompt(content)
	}
	if !content.IsArray() {
		return request, nil
	}
	content.ForEach(func(_, part gjson.Result) bool {
		if part.Get("type").Str == "tool_result" {
			request.BesideToolResults = request.Prompt != nil
			request.ToolResultID = wire.Kept(part.Get("tool_use_id"))
		}
		return true
	})
	return request, nil
}
