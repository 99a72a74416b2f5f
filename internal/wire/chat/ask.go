package chat

import (
	"bytes"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// askForUsage makes a streamed request ask for its usage, unless the client asks itself. The event that comes only
// because of that is withheld. Options that are of a wrong type stay unchanged: the upstream's error says more than ours
// could.
func askForUsage(body jsonedit.Object, request *wire.Request) {
	if asksOtherwise(body) {
		return
	}
	asking := []byte(`{"include_usage":true}`)
	if options, ok := body.Get("stream_options"); ok && string(options) != "null" {
		object, err := jsonedit.Parse(options)
		if err != nil {
			return
		}
		for _, name := range streamAsks() {
			if asks(object, name) {
				return // The client asks itself, or says what only its upstream can judge.
			}
		}
		asking, err = jsonedit.Splice(options, object.Set("include_usage", []byte("true")))
		if err != nil {
			return
		}
	}
	request.Edits = []jsonedit.Edit{body.Set("stream_options", asking)}
	request.Withhold = isUsageOnly
}

// asksForUsage reports whether the client of a request asks for usage, in whatever way.
func asksForUsage(body jsonedit.Object) bool {
	options, _ := body.Get("stream_options")
	object, err := jsonedit.Parse(options)
	return asksOtherwise(body) || err == nil && slices.ContainsFunc(streamAsks(), func(name string) bool { return asks(object, name) })
}

// streamAsks returns the members of stream_options by which clients ask for usage: OpenAI's, and vLLM's for usage in
// each chunk.
func streamAsks() []string { return []string{"include_usage", "continuous_usage_stats"} }

// otherAsks returns the members of a request by which clients of other servers ask: OpenRouter's, an object with the
// member include, and flags of some servers.
func otherAsks() []string {
	return []string{"usage", "include_usage", "stream_include_usage", "return_usage"}
}

// asksOtherwise reports whether a request asks for usage without stream_options. Then it goes as it came: its upstream
// knows that way, and perhaps no other.
func asksOtherwise(body jsonedit.Object) bool {
	for _, name := range otherAsks() {
		value, _ := body.Get(name)
		if object, err := jsonedit.Parse(value); err == nil {
			if asks(object, "include") {
				return true
			}
		} else if asks(body, name) {
			return true
		}
	}
	return false
}

// asks reports whether a member is there and is neither false nor null.
func asks(object jsonedit.Object, name string) bool {
	value, ok := object.Get(name)
	return ok && string(value) != "false" && string(value) != "null"
}

// isUsageOnly reports whether an event has usage and nothing else that a client could read: its choices are empty, null
// or missing, and no other member has a text or a value with content. An upstream sends such an event after the last
// choice to those who asked for it. Servers that report usage beside choices report it to everyone.
func isUsageOnly(event sse.Event) bool {
	if !mentionsUsage(event.Data) && !bytes.Contains(event.Data, []byte(`\u`)) || !wire.IsSound(event.Data) {
		return false // No name that could be written with escapes.
	}
	chunk := wire.View(event.Data)
	if !chunk.Get("usage").IsObject() || !isEmpty(chunk.Get("choices")) {
		return false
	}
	only := true
	chunk.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "usage", "x_groq":
		case "id", "object", "created", "model", "system_fingerprint", "service_tier", "provider", "obfuscation":
			only = !value.IsObject() && !value.IsArray()
		default:
			only = isEmpty(value) || value.Type == gjson.Number || value.Type == gjson.True || value.Type == gjson.False
		}
		return only
	})
	return only
}

// isEmpty reports whether a value is missing, null, an empty string, or an array or object without content.
func isEmpty(value gjson.Result) bool {
	switch {
	case value.IsArray(), value.IsObject():
		empty := true
		value.ForEach(func(_, _ gjson.Result) bool {
			empty = false
			return false
		})
		return empty
	case value.Type == gjson.String:
		return value.Str == ""
	}
	return value.Type == gjson.Null
}
