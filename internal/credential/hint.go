package credential

import (
	"strings"
	"unicode/utf8"
)

// shortestRedacted is how long a key must be, in bytes, for Redact to look for it: a shorter one could be an ordinary
// word.
const shortestRedacted = 5

// shortestMasked is how long a key must be, in bytes, for Redact to look for the ends of it.
const shortestMasked = 16

// Hint returns the first and last characters of a key, which tell keys apart without giving them away. The shorter the
// key is, the fewer characters it returns.
func Hint(key string) string {
	if key == "" {
		return ""
	}
	begin, end := hinted(key)
	return key[:begin] + "..." + key[end:]
}

// hinted returns where a hint's first part ends in the key, and where its last part begins.
func hinted(key string) (begin, end int) {
	length := utf8.RuneCountInString(key)
	show := 0
	switch {
	case length >= 20:
		show = 4
	case length >= 10:
		show = 2
	case length >= 5:
		show = 1
	}
	begin, end = 0, len(key)
	for range show {
		_, size := utf8.DecodeRuneInString(key[begin:])
		begin += size
		_, size = utf8.DecodeLastRuneInString(key[:end])
		end -= size
	}
	return begin, end
}

// Redact replaces a key by its hint in a text that an upstream wrote, also where the key is encoded (see [Tokens]). If
// the upstream masked a part of the key, what it left of the key's two ends is shortened to what a hint shows.
func Redact(text, key string) string {
	if len(key) < shortestRedacted {
		return text
	}
	text = Tokens{Presented: key}.Redact(text)
	if len(key) < shortestMasked {
		return text
	}
	begin, end := hinted(key)
	// An end counts if it has two more bytes than the hint shows.
	return shortenEnds(text, key, begin+2, len(key)-end+2)
}

// shortenEnds shortens what a text has of the two ends of a key to what a hint shows of them. The first end counts if it has
// that many bytes at least, and the last one likewise.
func shortenEnds(text, key string, first, last int) string {
	begin, end := hinted(key)
	text = shorten(text, key[:first], func(rest string) (int, string) {
		return commonPrefix(rest, key), key[:begin] + "..."
	})
	tail := key[len(key)-last:]
	for from := len(text); ; {
		at := strings.LastIndex(text[:from], tail)
		if at < 0 {
			return text
		}
		start := at + len(tail) - commonSuffix(text[:at+len(tail)], key)
		text = text[:start] + "..." + key[end:] + text[at+len(tail):]
		from = start
	}
}

// shorten replaces each part of a text that begins with beginning, by as many bytes and with what replace says.
func shorten(text, beginning string, replace func(rest string) (int, string)) string {
	var b strings.Builder
	for {
		at := strings.Index(text, beginning)
		if at < 0 {
			if b.Len() == 0 {
				return text
			}
			b.WriteString(text)
			return b.String()
		}
		n, replacement := replace(text[at:])
		b.WriteString(text[:at])
		b.WriteString(replacement)
		text = text[at+n:]
	}
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func commonSuffix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}
