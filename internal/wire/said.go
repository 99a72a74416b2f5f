package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"unicode"
)

// Said is what the client has seen of a turn: its texts, of which clients change white space and marks at most, and its own calls. Its
// zero value is nothing.
type Said struct {
	letters strings.Builder
	calls   []string
}

// mostSaid bounds how much of the texts tells a turn from others, in bytes.
const mostSaid = 4096

// AddText adds a text, which may be the part of one.
func (s *Said) AddText(text string) {
	for _, c := range text {
		if s.letters.Len() >= mostSaid {
			return
		}
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			s.letters.WriteRune(c)
		}
	}
}

// AddCall adds a call, by its check.
func (s *Said) AddCall(check string) { s.calls = append(s.calls, check) }

// Letters returns the letters and digits of the texts, as far as they count.
func (s *Said) Letters() string { return s.letters.String() }

// Text returns a text that is the same for the same texts, and empty if there are none.
func (s *Said) Text() string {
	if s.letters.Len() == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(s.letters.String()))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// SaidKey returns a second key of a turn that has a key with the [PlaceMark]: what the model said in it tells it from those of other
// conversations that begin alike.
func SaidKey(key string, of *Said) string {
	before := strings.TrimSuffix(key, PlaceMark)
	sum := sha256.Sum256([]byte(of.letters.String() + "\x00" + strings.Join(of.calls, "\x00")))
	return before + "=" + base64.RawURLEncoding.EncodeToString(sum[:12]) + PlaceMark
}
