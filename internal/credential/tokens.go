package credential

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Tokens recognises the gateway's own tokens in texts that clients and upstreams send: the token of one request, and any
// other token by its form. The zero Tokens recognises none.
//
// It finds a token as it is, percent-encoded, in base64 of either alphabet, and in up to three of these encodings one
// within the other. That is what software does to a credential that it puts in the wrong place. Somebody who wants to
// send their own token elsewhere can always encode it in another way.
type Tokens struct {
	// Presented is the token of the request. Empty: there is none.
	Presented string
	// Find returns where in a text the first token begins and ends, by its form alone, or a start below zero if there is
	// none. It must be fast, since it is called for each part of each request. Nil: no token is recognised by its form.
	Find func(text string) (start, end int)
}

// TokensOf returns the Tokens of a request. If find is nil, it is [FindCoderKey].
func TokensOf(presented string, find func(text string) (start, end int)) Tokens {
	if find == nil {
		find = FindCoderKey
	}
	return Tokens{Presented: presented, Find: find}
}

// deepest is how many encodings may hide a token, one within the other.
const deepest = 3

// In reports whether a token is in a text.
func (t Tokens) In(text string) bool { return t.in(text, deepest) }

// InName is [Tokens.In] for the name of a header, which loses its case on the way, and joins its words by hyphens.
func (t Tokens) InName(name string) bool {
	for at := 0; t.Presented != "" && at+len(t.Presented) <= len(name); at++ {
		if strings.EqualFold(name[at:at+len(t.Presented)], t.Presented) {
			return true
		}
	}
	if len(name) < shortestForm {
		return false
	}
	// A form may begin a token only where a word begins, so the name is looked at from each of its parts on.
	for rest, more := strings.ToLower(name), true; more; _, rest, more = strings.Cut(rest, "-") {
		if t.In(rest) {
			return true
		}
	}
	return false
}

// Without returns a request's header without the fields that hold a token in their name or in a value. If none does, it
// returns the header itself, and else a copy.
func (t Tokens) Without(header http.Header) http.Header {
	kept, copied := header, false
	for name, values := range header {
		if !t.inHeader(name, values) {
			continue
		}
		if !copied {
			kept, copied = maps.Clone(header), true
		}
		delete(kept, name)
	}
	return kept
}

func (t Tokens) inHeader(name string, values []string) bool {
	return t.InName(name) || slices.ContainsFunc(values, t.In)
}

// shortestForm is how long a token is at least that is recognised by its form in an encoding, in bytes.
const shortestForm = 32

// shortestHidden is how long the token of a request must be to be recognised in an encoding, in bytes: a shorter one
// could be an ordinary word.
const shortestHidden = 12

// shortest returns how long the shortest token is that is looked for in encodings.
func (t Tokens) shortest() int {
	if n := len(t.Presented); n >= shortestHidden {
		return min(n, shortestForm)
	}
	return shortestForm
}

func (t Tokens) in(text string, depth int) bool {
	if t.Presented != "" && strings.Contains(text, t.Presented) {
		return true
	}
	if t.Find != nil {
		if start, _ := t.Find(text); start >= 0 {
			return true
		}
	}
	if depth == 0 {
		return false
	}
	if strings.IndexByte(text, '%') >= 0 {
		if plain := unescape(text); len(plain) < len(text) && t.in(plain, depth-1) {
			return true
		}
	}
	shortest := t.shortest()
	for word := range base64Words(text, encodedLen(shortest)) {
		for skip := range 4 { // A word may be longer than what was encoded.
			if !hasPrintable(word[skip:], shortest) {
				continue
			}
			if t.in(decodeBase64(word[skip:]), depth-1) {
				return true
			}
		}
	}
	return false
}

// hidden takes the place of a text in which a token is encoded.
const hidden = "[redacted]"

// Redact returns a text with the hint of each token in its place. If a token is encoded, the whole word is replaced.
func (t Tokens) Redact(text string) string {
	if !t.In(text) {
		return text
	}
	if t.Presented != "" {
		text = strings.ReplaceAll(text, t.Presented, Hint(t.Presented))
	}
	text = t.redactForms(text)
	if !t.In(text) {
		return text
	}
	text = replaceWords(text, func(word string) string {
		if t.In(word) {
			return hidden
		}
		return word
	})
	if t.In(text) {
		return hidden
	}
	return text
}

func (t Tokens) redactForms(text string) string {
	if t.Find == nil {
		return text
	}
	var redacted strings.Builder
	for {
		start, end := t.Find(text)
		if start < 0 || end <= start {
			redacted.WriteString(text)
			return redacted.String()
		}
		redacted.WriteString(text[:start])
		redacted.WriteString(Hint(text[start:end]))
		text = text[end:]
	}
}

// Error returns err, or an error with the same text in which the tokens are redacted.
func (t Tokens) Error(err error) error {
	if text := err.Error(); t.In(text) {
		return errors.New(t.Redact(text))
	}
	return err
}

// replaceWords replaces each word of a text; words end where white space, quotes or commas are.
func replaceWords(text string, replace func(word string) string) string {
	var b strings.Builder
	for text != "" {
		end := strings.IndexAny(text, " \t\r\n\"'`,<>()[]{}")
		if end < 0 {
			end = len(text)
		}
		if end > 0 {
			b.WriteString(replace(text[:end]))
		}
		if end < len(text) {
			b.WriteByte(text[end])
			end++
		}
		text = text[end:]
	}
	return b.String()
}
