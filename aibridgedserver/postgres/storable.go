package postgres

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// escaped begins a text that stands for another one, which PostgreSQL cannot hold: it takes no NUL and no invalid UTF-8.
const escaped = "\x1a"

// storable returns a text that PostgreSQL can hold. That is the text itself, unless it has a NUL or invalid UTF-8, or
// looks as if it stood for another one.
func storable(text string) string {
	if utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 && !strings.HasPrefix(text, escaped) {
		return text
	}
	out := append(make([]byte, 0, len(text)+16), escaped...)
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == 0 || r == '\\' || r == utf8.RuneError && size == 1:
			out = append(out, '\\')
			out = appendHex(out, text[i])
		default:
			out = append(out, text[i:i+size]...)
		}
		i += size
	}
	return string(out)
}

func appendHex(out []byte, b byte) []byte {
	const digits = "0123456789abcdef"
	return append(out, digits[b>>4], digits[b&15])
}

// original returns the text that storable made stored from. Of an escape that is cut off, nothing is left.
func original(stored string) string {
	stored, found := strings.CutPrefix(stored, escaped)
	if !found {
		return stored
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(stored, `\`)
		out.WriteString(before)
		if !found || len(after) < 2 {
			return out.String()
		}
		if b, err := strconv.ParseUint(after[:2], 16, 8); err == nil { // Nothing else writes such texts.
			out.WriteByte(byte(b))
		}
		stored = after[2:]
	}
}

// mostNested is how many arrays and objects JSON may have that PostgreSQL reads: its stack is bounded.
const mostNested = 1000

// storableJSON returns JSON that jsonb can hold and gives back with the same meaning. That is the text itself, or, for
// the few texts where jsonb would not, a JSON string that has it.
func storableJSON(text string) string {
	odd := strings.Contains(text, `\u0000`) || strings.Contains(text, `\ufffd`) || // It takes no NUL, and knows no escapes.
		strings.Contains(text, "-0,") || strings.Contains(text, "-0}") || strings.Contains(text, "-0]") || // It has no -0.
		strings.Count(text, "[")+strings.Count(text, "{") > mostNested
	if !odd {
		return text
	}
	quoted, err := json.Marshal(storable(escaped + text))
	if err != nil { // A string is always JSON.
		return text
	}
	return string(quoted)
}

// originalJSON returns the JSON that jsonb was made from, in the form in which package aibridgedserver writes it: without
// blanks, names in ascending order, <, > and & as they are. Jsonb itself keeps neither the order nor the form.
func originalJSON(stored []byte) ([]byte, error) {
	var value any
	if err := json.Unmarshal(stored, &value); err != nil {
		return nil, err
	}
	if text, ok := value.(string); ok && strings.HasPrefix(text, escaped) {
		return []byte(strings.TrimPrefix(original(text), escaped)), nil
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}
