package jsonedit

import (
	"bytes"
	"strings"
)

// Prefix tells whether a text, which comes in pieces, is JSON that ends before its value does. It looks at the text's
// words, strings and brackets, and not at how they follow each other, but for brackets, which must match: so it also recognises the beginning of what only
// some writers take for JSON: with control characters in strings, with NaN, with a comma behind the last element. It
// keeps nothing of the text. The zero Prefix has no text yet.
type Prefix struct {
	state   prefixState
	open    int                    // How many objects and arrays are open.
	arrays  [mostKinds / 64]uint64 // Which of the outermost of these are arrays, one bit each.
	length  int8                   // Of word.
	word    [9]byte                // The beginning of a literal.
	escaped bool                   // The next byte of the string is escaped.
}

// mostKinds is how many levels of brackets are told apart. Deeper ones are only counted.
const mostKinds = 1024

type prefixState uint8

const (
	prefixBlank   prefixState = iota // Nothing but white space and marks of its encoding.
	prefixBetween                    // Not within a word or string.
	prefixString
	prefixNumber
	prefixWord
	prefixOther // It is no JSON.
)

// Feed adds a piece of the text.
func (p *Prefix) Feed(piece []byte) {
	for i := 0; i < len(piece) && p.state != prefixOther; i++ {
		c := piece[i]
		switch p.state {
		case prefixString:
			i += p.text(piece[i:]) - 1
			continue
		case prefixNumber:
			if '0' <= c && c <= '9' || c == '.' || c == '-' || c == '+' || c|0x20 == 'e' {
				continue
			}
		case prefixWord:
			if isWord(c) {
				p.spell(c)
				continue
			}
			if !p.isSpelled() {
				p.state = prefixOther
				return
			}
		}
		p.between(c)
	}
}

// text reads on in a string, and returns how many bytes of the piece belong to it: at least one.
func (p *Prefix) text(piece []byte) int {
	for i, c := range piece {
		switch {
		case p.escaped:
			p.escaped = false
		case c == '\\':
			p.escaped = true
		case c == '"':
			p.state = prefixBetween
			return i + 1
		}
	}
	return len(piece)
}

// between reads a byte outside of words and strings. A text is only taken for JSON if it begins with an object, an array
// or a string: other texts may begin with anything.
func (p *Prefix) between(c byte) {
	isFirst := p.state == prefixBlank
	p.state = prefixBetween
	switch {
	case c == '"':
		p.state = prefixString
	case c == '{' || c == '[':
		p.begin(c == '[')
	case c <= ' ' && isBlank(c), isFirst && bytes.IndexByte([]byte("\xef\xbb\xbf"), c) >= 0:
		if isFirst {
			p.state = prefixBlank
		}
	case isFirst:
		p.state = prefixOther
	case (c == '}' || c == ']') && p.ends(c == ']'):
		p.open--
	case (c == ',' || c == ':') && p.open > 0:
	case '0' <= c && c <= '9':
		p.state = prefixNumber
	case isWord(c):
		p.state, p.length = prefixWord, 0
		p.spell(c)
	default:
		p.state = prefixOther
	}
}

// begin notes that an object or an array begins.
func (p *Prefix) begin(array bool) {
	if p.open < mostKinds {
		bit := uint64(1) << (p.open % 64)
		p.arrays[p.open/64] &^= bit
		if array {
			p.arrays[p.open/64] |= bit
		}
	}
	p.open++
}

// ends reports whether an object or an array that is open can end here. A text in which the other one ends is no JSON: nothing that
// could follow would make it one.
func (p *Prefix) ends(array bool) bool {
	last := p.open - 1
	return last >= mostKinds || last >= 0 && p.arrays[last/64]&(1<<(last%64)) != 0 == array
}

// spell adds a byte to a word. A number that begins with a minus is recognised by its second byte.
func (p *Prefix) spell(c byte) {
	if p.length == 1 && p.word[0] == '-' && '0' <= c && c <= '9' {
		p.state = prefixNumber
		return
	}
	if int(p.length) < len(p.word) {
		p.word[p.length] = c
		p.length++
		if strings.HasPrefix(p.literal(), string(p.word[:p.length])) {
			return
		}
	}
	p.state = prefixOther
}

// isSpelled reports whether the word is whole.
func (p *Prefix) isSpelled() bool { return p.literal() == string(p.word[:p.length]) }

// literal returns the only literal that the word can become. Some writers have more of them than JSON has.
func (p *Prefix) literal() string {
	switch p.word[0] {
	case 't':
		return "true"
	case 'f':
		return "false"
	case 'n':
		return "null"
	case 'N':
		return "NaN"
	case 'I':
		return "Infinity"
	case '-':
		return "-Infinity"
	}
	return ""
}

func isWord(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' }

func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// Blank reports whether the text is nothing but white space.
func (p *Prefix) Blank() bool { return p.state == prefixBlank }

// Cut reports whether the text is JSON that ends before its last value does. Text that is no JSON is not cut, and neither
// is a blank one.
func (p *Prefix) Cut() bool {
	switch p.state {
	case prefixBlank, prefixOther:
		return false
	case prefixString:
		return true
	case prefixWord:
		return p.open > 0 || !p.isSpelled()
	}
	return p.open > 0
}
