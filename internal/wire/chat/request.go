package chat

import (
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

func inspect(body jsonedit.Object) (wire.Request, error) {
	request, err := wire.ReadRequest(body, "models", "preset", "thread")
	if err != nil {
		return wire.Request{}, err
	}
	if messages, _ := body.Get("messages"); !wire.IsArray(messages) {
		return wire.Request{}, wire.Invalid("messages: an array is required")
	}
	messages := body.Elements("messages")
	request.System = wire.Head(wire.LeadingSystem(messages))
	request.Opening = wire.Opening(messages)
	last := wire.LastMessage(messages)
	switch last.Get("role").Str {
	case "user":
		request.ReadPrompt(last.Get("content"))
	case "tool":
		request.ToolResultID = wire.Kept(last.Get("tool_call_id"))
	}
	if request.Stream {
		askForUsage(body, &request)
	}
	return request, nil
}
