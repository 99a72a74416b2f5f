package wire

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// String returns a value that is a string, or "". Clients that cut a text within a character leave half of a surrogate
// pair. String turns each such half into NUL, which no store takes, so that package storable replaces it and the text
// is flagged. (gjson by itself turns it into a U+FFFD like any other, and swallows the escape after it.)
func String(value gjson.Result) string {
	if value.Type != gjson.String {
		return ""
	}
	if !strings.Contains(value.Raw, `\ud`) && !strings.Contains(value.Raw, `\uD`) {
		return value.Str
	}
	return gjson.Parse(replaceHalves(value.Raw)).Str
}

// replaceHalves replaces each escaped half of a surrogate pair in a JSON string by an escaped NUL.
func replaceHalves(raw string) string {
	var whole strings.Builder
	for {
		at := strings.IndexByte(raw, '\\')
		if at < 0 {
			whole.WriteString(raw)
			return whole.String()
		}
		n := min(at+2, len(raw)) // Skip an escape, or the beginning of one.
		unit := escapedUnit(raw[at:])
		switch {
		case !utf16.IsSurrogate(unit):
		case utf16.DecodeRune(unit, escapedUnit(raw[at+6:])) != utf8.RuneError:
			n = at + 12
		default:
			whole.WriteString(raw[:at] + `\u0000`)
			raw = raw[at+6:]
			continue
		}
		whole.WriteString(raw[:n])
		raw = raw[n:]
	}
}

// escapedUnit returns the UTF-16 unit of the escape at the beginning of text, or 0.
func escapedUnit(text string) rune {
	if len(text) < 6 || text[:2] != `\u` {
		return 0
	}
	unit, err := strconv.ParseUint(text[2:6], 16, 16)
	if err != nil {
		return 0
	}
	return rune(unit)
}
