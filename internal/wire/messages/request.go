package messages

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// thread is the member that names a conversation which the upstream keeps: it has the model and earlier messages.
const thread = "thread"

var errNoMessages = wire.Invalid("messages: an array is required")

func inspect(body jsonedit.Object) (wire.Request, error) {
	return readRequest(body, thread, "models", "preset")
}

// inspectHosted reads a request whose path has the model. The body may have one too, which then means nothing.
func inspectHosted(body jsonedit.Object) (wire.Request, error) {
	if !wire.Has(body, "messages") {
		return wire.Request{}, errNoMessages
	}
	return readRequest(body, "messages")
}

// readRequest reads a request. StandIns are the members in whose presence the model is elsewhere.
func readRequest(body jsonedit.Object, standIns ...string) (wire.Request, error) {
	request, err := wire.ReadRequest(body, standIns...)
	if err != nil {
		return wire.Request{}, err
	}
	if messages, _ := body.Get("messages"); !wire.IsArray(messages) && (wire.Has(body, "messages") || !wire.Has(body, thread)) {
		return wire.Request{}, errNoMessages
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

func bounds(body jsonedit.Object) wire.Bounds { return wire.ReadBounds(body, "max_tokens") }
