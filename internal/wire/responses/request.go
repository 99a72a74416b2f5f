package responses

import (
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

func inspect(body jsonedit.Object) (wire.Request, error) {
	request, err := wire.ReadRequest(body)
	if err != nil {
		return wire.Request{}, err
	}
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
