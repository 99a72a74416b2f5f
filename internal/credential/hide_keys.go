package credential

import "strings"

// HideKeys returns a text without the words that begin as vendors' keys do, JSON Web Tokens and OAuth tokens of Google. Unlike
// [Hide], it leaves what only stands where a credential would: it is for whole pages and files of what people wrote. A word also
// begins behind an escape of JSON.
func HideKeys(text string) string {
	for i := range looks {
		if one := &looks[i]; one.marks[0] == "ya29." || one.marks[0] == "eyJ" {
			if strings.Contains(text, one.marks[0]) {
				text = one.expression.ReplaceAllString(text, "${1}"+hidden)
			}
		}
	}
	return hideKeys(text, true)
}

// escapeLength returns how long the escape is that a text begins with, with a backslash.
func escapeLength(text string) int {
	switch {
	case len(text) >= 6 && text[1] == 'u':
		return 6
	case len(text) >= 2 && strings.IndexByte(`"\/bfnrtu`, text[1]) >= 0:
		return 2
	default:
		return 1
	}
}
