package responses

import (
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// inspect reads a request for a response. A saved prompt, an agent, a conversation and an earlier response can have the
// model; some upstreams take a list of models or the name of a preset.
func inspect(body jsonedit.Object) (wire.Request, error) {
	request, err := wire.ReadRequest(body, "prompt", "agent", "agent_reference", "conversation", "previous_response_id", "models", "preset")
	if err != nil {
		return wire.Request{}, err
	}
	background, _ := body.Get("background")
	request.Background = string(background) == "true"
	return readInput(body, request)
}

// inspectCompact reads a request to compact a conversation. Its model may be null.
func inspectCompact(body jsonedit.Object) (wire.Request, error) {
	request, err := wire.ReadRequest(body, "input", "previous_response_id")
	if err != nil {
		return wire.Request{}, err
	}
	request.Generated = true
	return readInput(body, request)
}

// readInput adds to a request what its input and its instructions say.
func readInput(body jsonedit.Object, request wire.Request) (wire.Request, error) {
	input, _ := body.Get("input")
	items := body.Elements("input")
	if text := wire.View(input); text.Type == gjson.String {
		request.ReadPrompt(text)
		request.Opening = wire.Head(text)
	} else if !wire.IsArray(input) && len(input) > 0 && string(input) != "null" {
		return wire.Request{}, wire.Invalid("input: a string or an array is required")
	}
	if items.Len() > 0 {
		request.Opening = wire.Opening(items)
		readLast(wire.LastMessage(items), &request)
	}
	instructions, _ := body.Get("instructions")
	request.System = cmp.Or(wire.Head(wire.View(instructions)), wire.Head(wire.LeadingSystem(items)))
	return request, nil
}

// readLast reads the last input item. A message may have no type.
func readLast(item gjson.Result, request *wire.Request) {
	kind := item.Get("type").Str
	switch {
	case kind == "" || kind == "message":
		if item.Get("role").Str == "user" {
			request.ReadPrompt(item.Get("content"))
		}
	case strings.HasSuffix(kind, "_output"):
		request.ToolResultID = wire.Kept(item.Get("call_id"))
	}
}

func bounds(body jsonedit.Object) wire.Bounds { return wire.ReadBounds(body, "max_output_tokens") }
