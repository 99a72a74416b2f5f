package chat

import (
	"bytes"

	"github.com/coder/aibridged/internal/sse"
)

// textChunk holds the bytes around the text of a chunk that holds nothing but text. Most chunks of an answer differ only
// in their text: a chunk with the same bytes around another text holds nothing but text too. The zero value fits nothing.
type textChunk struct {
	before, after []byte // After begins with the quote that ends the text.
}

// fits reports whether data is the chunk with another text.
func (c *textChunk) fits(data []byte) bool {
	text := len(data) - len(c.before) - len(c.after)
	return len(c.after) > 0 && text >= 0 && bytes.HasPrefix(data, c.before) && bytes.HasSuffix(data, c.after) &&
		isInside(data[len(c.before):len(c.before)+text])
}

// isInside reports whether a JSON string goes on after text: text holds no quote and does not escape the next byte.
func isInside(text []byte) bool {
	return bytes.IndexByte(text, '"') < 0 && !bytes.HasSuffix(text, []byte(`\`))
}

// learn takes the bytes around the text of data, which holds nothing but text. It reports whether it found them.
func (c *textChunk) learn(data []byte) bool {
	const name = `"content":"`
	at := bytes.Index(data, []byte(name))
	if at < 0 {
		return false
	}
	begin := at + len(name)
	end := bytes.IndexByte(data[begin:], '"')
	if end < 0 || !isInside(data[begin:begin+end]) {
		return false
	}
	c.before = append(c.before[:0], data[:begin]...)
	c.after = append(c.after[:0], data[begin+end:]...)
	return true
}

// isText reports whether a chunk holds nothing but text, as most chunks do; text is not recorded. It looks only at the
// bytes, since parsing each chunk would cost several times as much: a member whose name is nowhere in the bytes is not
// there, unless the name is written with escapes. Chunks that look like text are not checked to be JSON.
func (t *tracker) isText(event sse.Event, data []byte) bool {
	if t.answer.ID == "" || t.answer.Model == "" || len(event.Type) > 0 {
		return false
	}
	if t.text.fits(data) {
		return true
	}
	isChunk := false
	for i, c := range data[:len(data)-1] {
		switch rest := data[i+1:]; {
		case c == '\\' && rest[0] == 'u', c == '"' && tells(rest),
			c == '"' && rest[0] == 's' && !t.usage.Labelled("service_tier") && hasValue(rest, `service_tier"`):
			return false
		case c == '"' && rest[0] == 'c' && bytes.HasPrefix(rest, []byte(`choices"`)):
			isChunk = true
		}
	}
	if isChunk {
		t.text.learn(data)
	}
	return isChunk
}

// tells reports whether text, which follows a quote, may be the name of a member that means more than text.
func tells(text []byte) bool {
	switch text[0] {
	case 'c':
		return hasParts(text, `content"`) || hasValue(text, `chain_of_thought"`)
	case 'e':
		return bytes.HasPrefix(text, []byte(`error"`)) || bytes.HasPrefix(text, []byte(`encrypted_content"`))
	case 'f':
		return bytes.HasPrefix(text, []byte(`function_call"`)) || hasValue(text, `finish_reason"`)
	case 'm':
		return bytes.HasPrefix(text, []byte(`message"`))
	case 'r':
		return bytes.HasPrefix(text, []byte(`reasoning`)) || bytes.HasPrefix(text, []byte(`redacted_thinking`))
	case 't':
		return bytes.HasPrefix(text, []byte(`tool_calls"`)) || bytes.HasPrefix(text, []byte(`thinking`))
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

// hasParts reports whether text begins with a name and its closing quote, and the value has parts: it is a list or an
// object.
func hasParts(text []byte, name string) bool {
	text, found := bytes.CutPrefix(text, []byte(name))
	if !found {
		return false
	}
	value, isMember := bytes.CutPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte(":"))
	value = bytes.TrimLeft(value, " \t\r\n")
	return isMember && len(value) > 0 && (value[0] == '[' || value[0] == '{')
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
