// Package storable makes text fit for any store: valid UTF-8 without NUL, and no longer than a limit. A batch of
// records must not fail because of a text that a client or an upstream chose.
package storable

import (
	"strings"
	"unicode/utf8"
)

// Text returns text with U+FFFD in place of NUL and of invalid UTF-8; most text it returns unchanged.
func Text(text string) string {
	if strings.Contains(text, "\x00") {
		text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// Cut returns the beginning of text, at most limit bytes of it, in whole characters. Bytes that are no UTF-8 are cut at
// the limit.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for end := limit; end >= max(0, limit-utf8.UTFMax+1); end-- {
		if utf8.RuneStart(text[end]) {
			return text[:end]
		}
	}
	return text[:limit]
}
