package chat

import (
	"bytes"

	"github.com/coder/aibridged/internal/sse"
)

// isText reports whether a chunk holds nothing but text, as most chunks do; text is not recorded. It looks only at the
// bytes, since parsing each chunk would cost several times as much: a member whose name is nowhere in the bytes is not
// there, unless the name is written with escapes. Chunks that look like text are not checked to be JSON.
func (t *tracker) isText(event sse.Event, data []byte) bool {
	if t.answer.ID == "" || t.answer.Model == "" || len(event.Type) > 0 {
		return false
	}
	isChunk := false
	for i, c := range data[:len(data)-1] {
		switch rest := data[i+1:]; {
		case c == '\\' && rest[0] == 'u', c == '"' && tells(rest),
			c == '"' && rest[0] == 's' && t.tier == "" && hasValue(rest, `service_tier"`):
			return false
		case c == '"' && rest[0] == 'c' && bytes.HasPrefix(rest, []byte(`choices"`)):
			isChunk = true
		}
	}
	return isChunk
}

// tells reports whether text, which follows a quote, may be the name of a member that means more than text.
func tells(text []byte) bool {
	switch text[0] {
	case 'c':
		return bytes.HasPrefix(text, []byte(`chat.completion"`)) // The chunk is a whole answer.
	case 'e':
		return bytes.HasPrefix(text, []byte(`error"`))
	case 'f':
		return bytes.HasPrefix(text, []byte(`function_call"`)) || hasValue(text, `finish_reason"`)
	case 'm':
		return bytes.HasPrefix(text, []byte(`message"`))
	case 'r':
		return bytes.HasPrefix(text, []byte(`reasoning`))
	case 't':
		return bytes.HasPrefix(text, []byte(`tool_calls"`))
	case 'u':
		return hasValue(text, `usage"`)
	}
	return false
}

// hasValue reports whether text begins with a name and its closing quote, unless the value is null.
func hasValue(text []byte, name string) bool {
	text, found := bytes.CutPrefix(text, []byte(name))
	if !found {
		return false
	}
	value, isMember := bytes.CutPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte(":"))
	return !isMember || !bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("null"))
}

// mentionsUsage reports whether usage with a value is anywhere in data.
func mentionsUsage(data []byte) bool {
	const name = `usage"`
	for {
		at := bytes.Index(data, []byte(name))
		if at < 0 || hasValue(data[at:], name) {
			return at >= 0
		}
		data = data[at+len(name):]
	}
}
