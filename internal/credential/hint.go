package credential

import (
	"strings"
	"unicode/utf8"
)

// shortestRedacted is how long a key must be, in bytes, to be told from ordinary words.
const shortestRedacted = 5

// Hint tells keys apart without telling them: the first and last characters, fewer of them the shorter the key is.
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

// Redact takes a key out of a text that an upstream wrote, and puts its hint there.
func Redact(text, key string) string {
	if len(key) < shortestRedacted {
		return text
	}
	return strings.ReplaceAll(text, key, Hint(key))
}
