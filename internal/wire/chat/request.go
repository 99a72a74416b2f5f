package chat

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

func inspect(body jsonedit.Object) (wire.Request, error) {
	request, err := wire.ReadRequest(body, "models", "preset", "thread")
	if err != nil {
		return wire.Request{}, err
	}
	if messages, _ := body.Get("messages"); !wire.IsArray(messages) {
		if wire.Has(body, "messages") || !wire.Has(body, "prompt") {
			return wire.Request{}, wire.Invalid("messages: an array is required")
		}
		// Some servers take a text in the place of messages.
		prompt, _ := body.Get("prompt")
		if text := wire.View(prompt); text.Type == gjson.String {
			request.ReadPrompt(text)
			request.Opening = wire.Head(text)
		}
		return asking(body, request), nil
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
	return asking(body, request), nil
}

// asking returns a request with the edits that make its answer report its usage.
func asking(body jsonedit.Object, request wire.Request) wire.Request {
	if request.Stream {
		askForUsage(body, &request)
	}
	return request
}

func bounds(body jsonedit.Object) wire.Bounds {
	b := wire.ReadBounds(body, "max_completion_tokens", "max_tokens")
	b.ReadAnswers(body, "n")
	return b
}
