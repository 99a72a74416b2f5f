package credential

import (
	"iter"
	"strings"
)

// unescape returns a text without its percent escapes. What is no escape stays as it is.
func unescape(text string) string {
	var plain strings.Builder
	plain.Grow(len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]) {
			plain.WriteByte(unhex(text[i+1])<<4 | unhex(text[i+2]))
			i += 2
			continue
		}
		plain.WriteByte(text[i])
	}
	return plain.String()
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' }

// unhex returns the value of a hexadecimal digit.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// encodedLen returns how many characters of base64, without padding, hold n bytes.
func encodedLen(n int) int { return (n*8 + 5) / 6 }

// base64Words returns the longest parts of a text that have only characters of base64, of either alphabet, if they have
// at least that length.
func base64Words(text string, shortest int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for from := 0; len(text)-from >= shortest; {
			end := from
			for end < len(text) && base64Value(text[end]) >= 0 {
				end++
			}
			if end-from >= shortest && !yield(text[from:end]) {
				return
			}
			from = end + 1
		}
	}
}

// base64Value returns the value of a character in either alphabet of base64, or a number below zero.
func base64Value(c byte) int8 {
	switch {
	case 'A' <= c && c <= 'Z':
		return int8(c - 'A')
	case 'a' <= c && c <= 'z':
		return int8(c-'a') + 26
	case '0' <= c && c <= '9':
		return int8(c-'0') + 52
	case c == '+' || c == '-':
		return 62
	case c == '/' || c == '_':
		return 63
	}
	return -1
}

// hasPrintable reports whether a word of base64 holds that many printable ASCII characters in a row. Only then can it
// hold a token; in a key or an id that is random, there are never that many. It allocates nothing.
func hasPrintable(word string, n int) bool {
	var bits uint
	run := 0
	for i := range len(word) {
		bits = bits<<6 | uint(base64Value(word[i]))
		if i%4 == 0 {
			continue
		}
		c := byte(bits >> (2 * (3 - i%4)))
		if c <= ' ' || c >= 0x7f {
			run = 0
			continue
		}
		if run++; run >= n {
			return true
		}
	}
	return false
}

// decodeBase64 decodes a word that has only characters of base64.
func decodeBase64(word string) string {
	decoded := make([]byte, 0, len(word)*3/4)
	var bits uint
	for i := range len(word) {
		bits = bits<<6 | uint(base64Value(word[i]))
		if i%4 != 0 {
			decoded = append(decoded, byte(bits>>(2*(3-i%4))))
		}
	}
	return string(decoded)
}
