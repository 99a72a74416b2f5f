package wire

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/storable"
)

// headLimit is how many bytes are kept of a system prompt, or of another text whose beginning is enough.
const headLimit = 256

// ReadRequest reads the members that the requests of all formats share: the model, whether to stream, metadata.user_id
// and prompt_cache_key. StandIns are the members in whose presence the API finds the model elsewhere: the request then
// need not have one. ReadRequest fails with an [*apierror.Error] of status 400 where there is no model or stream is no
// boolean.
func ReadRequest(body jsonedit.Object, standIns ...string) (Request, error) {
	model := member(body, "model")
	if model == "" && (Has(body, "model") || !slices.ContainsFunc(standIns, func(name string) bool { return Has(body, name) })) {
		return Request{}, Invalid("model: a non-empty string is required")
	}
	request := Request{
		Model:    model,
		CacheKey: member(body, "prompt_cache_key"),
	}
	switch stream, _ := body.Get("stream"); string(stream) {
	case "true":
		request.Stream = true
	case "", "false", "null":
	default:
		return Request{}, Invalid("stream: a boolean is required")
	}
	if metadata, ok := body.Get("metadata"); ok {
		request.UserID = Kept(View(metadata).Get("user_id"))
	}
	return request, nil
}

// Invalid returns the error of status 400 for a request that its route cannot serve. The client gets text.
func Invalid(text string) error {
	return &apierror.Error{Status: http.StatusBadRequest, Text: text}
}

// Has reports whether body has a member that is not null.
func Has(body jsonedit.Object, name string) bool {
	raw, ok := body.Get(name)
	return ok && string(raw) != "null"
}

// member returns a member of body that is a string, or "".
func member(body jsonedit.Object, name string) string {
	raw, ok := body.Get(name)
	if !ok {
		return ""
	}
	value, _ := jsonedit.String(raw)
	return value
}

// IsArray reports whether raw, a whole JSON value, is an array.
func IsArray(raw []byte) bool { return bytes.HasPrefix(raw, []byte("[")) }

// LastMessage returns the last of a request's messages whose role is neither system nor developer: newer clients put a
// system message after the user's in their first turn. The result does not exist if there is no such message.
func LastMessage(messages jsonedit.Array) gjson.Result {
	for i := messages.Len() - 1; i >= 0; i-- {
		if message := messages.At(i); !isSystem(message) {
			return View(message)
		}
	}
	return gjson.Result{}
}

// mostLeading is how many messages are looked through from the first one. Requests have what is looked for among the
// first few; a body made to waste time has millions.
const mostLeading = 4096

// LeadingSystem returns the content of the first system or developer message, if no message of another role comes
// before it. It skips items without a role.
func LeadingSystem(messages jsonedit.Array) gjson.Result {
	for i := range min(messages.Len(), mostLeading) {
		message := messages.At(i)
		switch {
		case isSystem(message):
			return View(message).Get("content")
		case View(message).Get("role").Type != gjson.Null:
			return gjson.Result{}
		}
	}
	return gjson.Result{}
}

// ReadPrompt reads the content of the last message, which must be the user's.
func (r *Request) ReadPrompt(content gjson.Result) {
	r.Prompt = Texts(content)
	r.PromptIsString = content.Type == gjson.String
}

// longestOpening is how many bytes a first message may have for its opening to be read. Messages by which a client's
// own requests are recognised hold nothing else; those of people can have hundreds of kilobytes.
const longestOpening = 1024

// Opening returns the beginning of the user's first message. Of a message with parts, the first text counts.
func Opening(messages jsonedit.Array) string {
	for i := range min(messages.Len(), mostLeading) {
		message := messages.At(i)
		if View(message).Get("role").Str != "user" {
			continue
		}
		if len(message) > longestOpening {
			return ""
		}
		return Head(View(message).Get("content"))
	}
	return ""
}

func isSystem(message []byte) bool {
	role := View(message).Get("role").Str
	return role == "system" || role == "developer"
}

// Texts returns the texts of a message's content, which is a string or an array of parts, in their order. It never
// returns nil: for content without text it returns an empty slice.
func Texts(content gjson.Result) []string {
	texts := []string{}
	if content.Type == gjson.String {
		return append(texts, Kept(content))
	}
	if !content.IsArray() {
		return texts
	}
	content.ForEach(func(_, part gjson.Result) bool {
		if text, ok := partText(part); ok {
			texts = append(texts, strings.Clone(text))
		}
		return true
	})
	return texts
}

// Head returns the beginning of a content, which is a string or an array of parts, of which the first text counts. It
// has at most 256 bytes and ends between characters.
func Head(content gjson.Result) string {
	head := String(content)
	if content.IsArray() {
		content.ForEach(func(_, part gjson.Result) bool {
			var ok bool
			head, ok = partText(part)
			return !ok
		})
	}
	return strings.Clone(storable.Cut(head, headLimit))
}

func partText(part gjson.Result) (string, bool) {
	switch part.Get("type").Str {
	case "text", "input_text":
		value := part.Get("text")
		return String(value), value.Type == gjson.String
	}
	return "", false
}
