package wire

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash"
	"strings"
	"unicode"
)

// Said is what the client has seen of a turn: its texts, one behind the other, and its own calls. Its zero value is nothing.
type Said struct {
	exact, bare hash.Hash // Of the texts, as they are and without white space, which some clients change. Nil: there is none.
	calls       []string
}

// Clone returns a copy to which more can be added.
func (s *Said) Clone() *Said {
	if s == nil || s.exact == nil {
		return &Said{}
	}
	return &Said{exact: cloned(s.exact), bare: cloned(s.bare), calls: append([]string(nil), s.calls...)}
}

func cloned(of hash.Hash) hash.Hash {
	copied, err := of.(hash.Cloner).Clone()
	if err != nil {
		return sha256.New() // SHA-256 can always be copied.
	}
	return copied
}

// AddText adds a text, which may be the part of one.
func (s *Said) AddText(text string) {
	bare := strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return -1
		}
		return c
	}, text)
	if bare == "" && s.exact == nil {
		return
	}
	if s.exact == nil {
		s.exact, s.bare = sha256.New(), sha256.New()
	}
	_, _ = s.exact.Write([]byte(text)) // It never fails.
	_, _ = s.bare.Write([]byte(bare))
}

// AddCall adds a call. Of its input only white space does not count, and an empty one is that of an empty object.
func (s *Said) AddCall(name, input string) {
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(cmp.Or(strings.TrimSpace(input), "{}"))) == nil {
		input = compact.String()
	}
	s.calls = append(s.calls, name+"\x00"+input)
}

// Text returns a text that is the same for the same texts, but for white space, and empty if there are none.
func (s *Said) Text() string {
	if s.exact == nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(s.bare.Sum(nil)[:12])
}

// sumLength is how many characters a sum has in a key.
const sumLength = 16

// IsPlaceKey reports whether a key tells a turn by its place alone, which others may have in common.
func IsPlaceKey(key string) bool {
	before, ok := strings.CutSuffix(key, PlaceMark)
	return ok && len(before) > sumLength && before[len(before)-sumLength-1] != '='
}

// AppendKeys appends a key and, if only its place tells the turn, the [SaidKey] before it.
func AppendKeys(keys []string, key string, said func() *Said) []string {
	if strings.HasSuffix(key, PlaceMark) {
		keys = append(keys, SaidKey(key, said()))
	}
	return append(keys, key)
}

// SaidKey returns a second key of a turn that has a key with the [PlaceMark]: what the model said in it, to the letter, tells it from
// those of other conversations that begin alike.
func SaidKey(key string, of *Said) string {
	sum := sha256.New()
	if of.exact != nil {
		_, _ = sum.Write(of.exact.Sum(nil)) // It never fails.
	}
	for _, call := range of.calls {
		_, _ = sum.Write([]byte("\x00" + call))
	}
	return strings.TrimSuffix(key, PlaceMark) + "=" + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:12]) + PlaceMark
}
