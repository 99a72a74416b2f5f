package chat

import (
	"bytes"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// askForUsage makes a streamed request ask for its usage, unless the client asks itself. The event that comes only
// because of that is withheld. Options that are of a wrong type stay unchanged: the upstream's error says more than ours
// could.
func askForUsage(body jsonedit.Object, request *wire.Request) {
	asking := []byte(`{"include_usage":true}`)
	if options, ok := body.Get("stream_options"); ok && string(options) != "null" {
		object, err := jsonedit.Parse(options)
		if err != nil {
			return
		}
		if asks, ok := object.Get("include_usage"); ok && string(asks) != "false" && string(asks) != "null" {
			return // The client asks itself, or says what only its upstream can judge.
		}
		asking, err = jsonedit.Splice(options, object.Set("include_usage", []byte("true")))
		if err != nil {
			return
		}
	}
	request.Edits = []jsonedit.Edit{body.Set("stream_options", asking)}
	request.Withhold = isUsageOnly
}

// isUsageOnly reports whether an event has usage and no choices. An upstream sends such an event after the last choice
// to those who asked for it. Servers that report usage beside choices report it to everyone.
func isUsageOnly(event sse.Event) bool {
	if !mentionsUsage(event.Data) && !bytes.Contains(event.Data, []byte(`\u`)) || !wire.IsSound(event.Data) {
		return false // No name that could be written with escapes.
	}
	found := gjson.GetManyBytes(event.Data, "usage", "choices", "choices.0", "error")
	usage, choices, choice, failure := found[0], found[1], found[2], found[3]
	return usage.IsObject() && choices.IsArray() && !choice.Exists() && !failure.IsObject()
}
