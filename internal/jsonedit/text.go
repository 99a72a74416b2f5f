package jsonedit

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// String decodes value, which must be a JSON string without white space around it; otherwise it returns false. Invalid
// UTF-8 and lone surrogates become U+FFFD.
func String(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	if end, fault := textEnd(value, 1); fault != "" || end != len(value) {
		return "", false
	}
	return unescape(value[1 : len(value)-1]), true
}

// textEnd returns the offset after the string whose contents begin at offset i of body. If the string is not valid, it
// returns the offset of the fault, and what was expected there.
func textEnd(body []byte, i int) (end int, fault string) {
	for {
		i = specialAt(body, i)
		switch {
		case i == len(body):
			return i, "the end of a string"
		case body[i] == '"':
			return i + 1, ""
		case body[i] != '\\':
			return i, "no control character in a string"
		}
		n := escapeLen(body[i:])
		if n == 0 {
			return i, "a valid escape"
		}
		i += n
	}
}

// specialAt returns the offset of the first byte from i on that is a quote, a backslash or a control character, or the
// length of body.
func specialAt(body []byte, i int) int {
	for i+32 <= len(body) {
		b := body[i : i+32 : i+32]
		h0 := specials(binary.LittleEndian.Uint64(b[0:]))
		if h0 != 0 {
			return i + bits.TrailingZeros64(h0)/8
		}
		h1 := specials(binary.LittleEndian.Uint64(b[8:]))
		h2 := specials(binary.LittleEndian.Uint64(b[16:]))
		h3 := specials(binary.LittleEndian.Uint64(b[24:]))
		switch {
		case h1|h2|h3 == 0:
			i += 32
		case h1 != 0:
			return i + 8 + bits.TrailingZeros64(h1)/8
		case h2 != 0:
			return i + 16 + bits.TrailingZeros64(h2)/8
		default:
			return i + 24 + bits.TrailingZeros64(h3)/8
		}
	}
	for i < len(body) && body[i] != '"' && body[i] != '\\' && body[i] >= ' ' {
		i++
	}
	return i
}

const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// specials finds the bytes of word that are a quote, a backslash or a control character: the lowest bit of the result
// is the top bit of the lowest such byte. There is none if the result is 0; its other bits mean nothing.
func specials(word uint64) uint64 {
	// Flipping this bit moves the quote next to the control characters and keeps all other bytes above it.
	low := word ^ ones*('"'^' ')
	slash := word ^ ones*'\\'
	return ((low-ones*(' '+1))&^low | (slash-ones)&^slash) & tops
}

// escapeLen returns the length of the escape sequence at the beginning of text, which begins with a backslash; 0 if it
// is not valid.
func escapeLen(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(text[2:]); ok {
			return 6
		}
	}
	return 0
}

// hex4 reads the four hexadecimal digits that text begins with.
func hex4(text []byte) (rune, bool) {
	if len(text) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range text[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = (c | 0x20) - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape decodes the inside of a valid string.
func unescape(text []byte) string {
	i := specialAt(text, 0)
	if i == len(text) && utf8.Valid(text) {
		return string(text)
	}
	out := make([]byte, 0, len(text)+len("\ufffd"))
	for i = 0; i < len(text); {
		run := specialAt(text, i)
		out = appendValid(out, text[i:run])
		if i = run; i == len(text) {
			break
		}
		if text[i+1] != 'u' {
			out = append(out, unescaped(text[i+1]))
			i += 2
			continue
		}
		r, n := unicodeEscape(text[i:])
		out = utf8.AppendRune(out, r)
		i += n
	}
	return string(out)
}

// unescaped returns the character that a backslash and c stand for.
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// unicodeEscape decodes the \u escape, or the surrogate pair of two, at the beginning of text, and returns its length.
func unicodeEscape(text []byte) (r rune, n int) {
	r, _ = hex4(text[2:])
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(text) >= 12 && text[6] == '\\' && text[7] == 'u' {
		low, _ := hex4(text[8:])
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

// appendValid appends text to out, with each byte that is not valid UTF-8 replaced by U+FFFD.
func appendValid(out, text []byte) []byte {
	if utf8.Valid(text) {
		return append(out, text...)
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		out = utf8.AppendRune(out, r)
		text = text[size:]
	}
	return out
}
