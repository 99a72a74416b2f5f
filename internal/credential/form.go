package credential

import "strings"

const (
	keyIDLen     = 10
	keySecretMin = 22
)

// FindCoderKey returns where in a text the first word begins and ends that has the form of a Coder API key: ten letters
// or digits, a hyphen, and at least 22 letters or digits. The start is below zero if there is none. The key must begin a
// word, in which hyphens and underscores count as letters: within the random part of a provider's key, which begins with
// a prefix such as "sk-", the form can occur by chance.
func FindCoderKey(text string) (start, end int) {
	for hyphen := keyIDLen; ; hyphen++ {
		if hyphen+keySecretMin >= len(text) {
			return -1, -1
		}
		next := strings.IndexByte(text[hyphen:], '-')
		if next < 0 {
			return -1, -1
		}
		hyphen += next
		start = hyphen - keyIDLen
		if start > 0 && (isAlphanumeric(text[start-1]) || text[start-1] == '-' || text[start-1] == '_') {
			continue
		}
		if alphanumerics(text[start:]) != keyIDLen {
			continue
		}
		if n := alphanumerics(text[hyphen+1:]); n >= keySecretMin {
			return start, hyphen + 1 + n
		}
	}
}

// alphanumerics returns with how many ASCII letters and digits a text begins.
func alphanumerics(text string) int {
	n := 0
	for n < len(text) && isAlphanumeric(text[n]) {
		n++
	}
	return n
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
