// Package visible makes text that anybody may have written fit to be looked at: in a page, in a terminal, in a table. What
// commands a terminal, changes the direction of text or is written to be unseen is replaced, or escaped where JSON can.
//
//	fmt.Fprintln(out, visible.Text(title))
//	encoder := json.NewEncoder(visible.JSON(out))
//
// It does not escape for HTML, and does not shorten.
package visible

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns a text in which each character that must not be shown as it is has become U+FFFD. Line breaks and tabs stay.
func Text(text string) string {
	if !hasHidden(text) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if IsHidden(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func hasHidden(text string) bool { return strings.ContainsFunc(text, IsHidden) }

// IsHidden reports whether a character must not be shown as it is: a control character but for line breaks and tabs, one that
// changes the direction of the text behind it, and one that is written into text to be read by programs alone.
func IsHidden(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return r < ' ' && r != '\n' && r != '\t' || r == 0x7f
	case unicode.IsControl(r):
		return true
	case r == '\u061C', r == '\u200E', r == '\u200F', r >= '\u202A' && r <= '\u202E', r >= '\u2066' && r <= '\u206F': // Directions, and what is deprecated.
		return true
	case r >= '\uFFF9' && r <= '\uFFFB', r == '\u2028', r == '\u2029': // Annotations, and line breaks that no terminal knows.
		return true
	default:
		return r >= 0xE0000 && r <= 0xE007F // Letters that nobody sees.
	}
}

// JSON returns a writer that passes JSON on, with such characters escaped. They occur only within strings of JSON. Each Write must
// end with a whole character, as those of a [json.Encoder] do.
func JSON(out io.Writer) io.Writer { return jsonWriter{out} }

type jsonWriter struct{ out io.Writer }

// Write implements [io.Writer].
func (w jsonWriter) Write(text []byte) (int, error) {
	if _, err := w.out.Write(Escaped(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// Escaped returns JSON with such characters escaped.
func Escaped(text []byte) []byte {
	if !hasHidden(string(text)) {
		return text
	}
	var out strings.Builder
	for _, r := range string(text) {
		switch {
		case !IsHidden(r) || r == '\r': // Which may stand between the values.
			out.WriteRune(r)
		case r > 0xFFFF:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return []byte(out.String())
}
