package credential

import (
	"strings"
	"unicode/utf8"
)

// shortestRedacted is how long a key must be, in bytes, for Redact to look for it: a shorter one could be an ordinary
// word.
const shortestRedacted = 5

// Hint returns the first and last characters of a key, which tell keys apart without giving them away. The shorter the
// key is, the fewer characters it returns.
func Hint(key string) string {
	length := utf8.RuneCountInString(key)
	if length == 0 {
		return ""
	}
	show := 0
	switch {
	case length >= 20:
		show = 4
	case length >= 10:
		show = 2
	case length >= 5:
		show = 1
	}
	begin, end := 0, len(key)
	for range show {
		_, size := utf8.DecodeRuneInString(key[begin:])
		begin += size
		_, size = utf8.DecodeLastRuneInString(key[:end])
		end -= size
	}
	return key[:begin] + "..." + key[end:]
}

// Redact replaces a key by its hint in a text that an upstream wrote.
func Redact(text, key string) string {
	if len(key) < shortestRedacted {
		return text
	}
	return strings.ReplaceAll(text, key, Hint(key))
}
