package credential

import (
	"strconv"
	"strings"
)

// ShortestEcho is how long a secret must be, in bytes, for [WithoutEcho] to look for it: a shorter one could be an ordinary
// word.
const ShortestEcho = 16

// WithoutEcho returns a text that an upstream wrote for a client without the secret that the gateway sent it: its hint stands
// in its place. The secret is found as it is, in the encodings that [Tokens] knows and with the escapes of JSON. If the
// upstream masked or cut it, what is left counts only if that is more than half of the secret: what providers show of a key
// by themselves stays as they wrote it.
func WithoutEcho(text, secret string) string {
	if len(secret) < ShortestEcho {
		return text
	}
	if strings.IndexByte(text, '\\') >= 0 {
		text = replaceWords(text, func(word string) string {
			if plain := unescapeJSON(word); plain != word {
				if clean := WithoutEcho(plain, secret); clean != plain {
					return clean
				}
			}
			return word
		})
	}
	text = Tokens{Presented: secret}.Redact(text)
	most := max(ShortestEcho, len(secret)/2+1)
	return shortenEnds(text, secret, most, most)
}

// unescapeJSON returns a word of a JSON string without the escapes that it could do without.
func unescapeJSON(word string) string {
	var plain strings.Builder
	for {
		before, rest, ok := strings.Cut(word, `\`)
		plain.WriteString(before)
		switch {
		case !ok:
			return plain.String()
		case strings.HasPrefix(rest, "/"):
			plain.WriteByte('/')
			word = rest[1:]
		case len(rest) >= 5 && rest[0] == 'u':
			c, err := strconv.ParseUint(rest[1:5], 16, 16)
			if err != nil || c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
				plain.WriteString(`\u`)
				word = rest[1:]
				continue
			}
			plain.WriteByte(byte(c))
			word = rest[5:]
		case rest != "":
			plain.WriteString(word[len(before) : len(before)+2])
			word = rest[1:]
		default:
			plain.WriteByte('\\')
			return plain.String()
		}
	}
}
