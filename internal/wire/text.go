package wire

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// String returns a value that is a string, or empty. Half of a surrogate pair, which clients make when they cut a text
// within a character, becomes NUL, which no store takes: whoever makes the text storable sees that it was not. (gjson
// by itself makes a U+FFFD of it as of any other, and swallows the escape behind it.)
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
		n := min(at+2, len(raw)) // An escape, or the beginning of one.
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

// escapedUnit returns the UTF-16 unit that text begins with as an escape, or 0.
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
