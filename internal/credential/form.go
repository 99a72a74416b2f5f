package credential

import "strings"

const (
	keyIDLen     = 10
	keySecretMin = 22
)

// longestWord is how long a word may be, in bytes, in which a key may stand behind a prefix. Longer ones are random for
// the most part: signatures, states of a session.
const longestWord = 80

// FindCoderKey returns where in a text the first key begins and ends that has the form of a Coder API key: ten letters
// or digits, a hyphen, and at least 22 letters or digits. The start is below zero if there is none.
//
// By chance, the form occurs in one of a hundred of the random keys that providers make. So a key is found where a word
// begins, in which hyphens and underscores count as letters, and behind a prefix only if the word is short and does not
// begin as the keys of providers do.
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
		if start > 0 && isAlphanumeric(text[start-1]) || alphanumerics(text[start:]) != keyIDLen {
			continue
		}
		if word := wordAround(text, start); start > 0 && isOfWord(text[start-1]) && (len(word) > longestWord || beginsAsKey(word)) {
			continue
		}
		if n := alphanumerics(text[hyphen+1:]); n >= keySecretMin {
			return start, hyphen + 1 + n
		}
	}
}

// wordAround returns the word of a text that holds the byte at i.
func wordAround(text string, i int) string {
	from, to := i, i
	for from > 0 && isOfWord(text[from-1]) {
		from--
	}
	for to < len(text) && isOfWord(text[to]) {
		to++
	}
	return text[from:to]
}

func isOfWord(c byte) bool { return isAlphanumeric(c) || c == '-' || c == '_' }

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
