package rederive

import (
	"bytes"
	"regexp"
	"strings"
)

// isHalf reports whether a body is JSON that ends within an object, an array, a string or a word. In which order the parts come does not
// matter, since some writers leave commas behind the last element, but brackets must match: behind a wrong one, nothing could
// make the body whole, so it is none that was cut.
func isHalf(body []byte) bool {
	text := strings.TrimLeft(string(bytes.TrimPrefix(body, []byte("\ufeff"))), " \r\n\t")
	if text == "" || !strings.ContainsAny(text[:1], `{["`) {
		return false
	}
	// What JSON is made of, and what some writers take for a part of it: any characters in strings, and other numbers.
	token := regexp.MustCompile(`^(?s:"(?:\\.|[^"\\])*"|[{}\[\],:]|-?[0-9][0-9.eE+-]*|[0-9A-Za-z-]+)`)
	// Those of them that stand for a value. Others may be the beginning of a word.
	isValue := regexp.MustCompile(`^(?s:".*|-?[0-9].*|true|false|null|NaN|-?Infinity)$`)
	closing := map[string]string{"{": "}", "[": "]"}
	var open []string // What closes each of the objects and arrays that are open.
	for text != "" {
		part := token.FindString(text)
		if part == "" {
			return text[0] == '"' // A string without an end, or what is no part of JSON.
		}
		switch part {
		case "{", "[":
			open = append(open, closing[part])
		case "}", "]":
			if len(open) == 0 || open[len(open)-1] != part {
				return false
			}
			open = open[:len(open)-1]
		case ",", ":":
			if len(open) == 0 {
				return false
			}
		default:
			if !isValue.MatchString(part) {
				return part == text && isBeginningOfWord(part)
			}
		}
		text = strings.TrimLeft(text[len(part):], " \r\n\t")
	}
	return len(open) > 0
}

// isBeginningOfWord reports whether a text may go on as a word.
func isBeginningOfWord(text string) bool {
	for _, word := range []string{"true", "false", "null", "NaN", "Infinity", "-Infinity"} {
		if strings.HasPrefix(word, text) {
			return true
		}
	}
	return false
}
