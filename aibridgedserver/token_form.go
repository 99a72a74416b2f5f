package aibridgedserver

import (
	"strings"

	"github.com/coder/aibridged/internal/credential"
)

// madeSecretLen is how long the secrets are that [Server.CreateToken] makes.
const madeSecretLen = 26

// FindToken returns where in a text the first token of a [Server] begins and ends, by its form alone: whether it is
// valid, expired, revoked or never was one does not matter. The start is below zero if there is none. A gateway calls it
// for each part of a request, so that no token of its users goes upstream; see aibridged.ServerOptions.
//
// A token that [Server.CreateToken] made is found anywhere, also within a longer word and in lower case: by chance, its
// form hardly ever occurs. Other tokens that a Server accepts are found where a word begins.
func FindToken(text string) (start, end int) {
	start, end = credential.FindCoderKey(text)
	made := findMade(text)
	if made >= 0 && (start < 0 || made < start) {
		return made, made + tokenIDLen + 1 + madeSecretLen
	}
	return start, end
}

// findMade returns where the first token that CreateToken made begins, or a number below zero.
func findMade(text string) int {
	for hyphen := tokenIDLen; hyphen+madeSecretLen < len(text); hyphen++ {
		next := strings.IndexByte(text[hyphen:], '-')
		if next < 0 {
			return -1
		}
		hyphen += next
		if hyphen+madeSecretLen >= len(text) {
			return -1
		}
		id, secret := text[hyphen-tokenIDLen:hyphen], text[hyphen+1:hyphen+1+madeSecretLen]
		if isBase32(id, 'A') && isBase32(secret, 'A') || isBase32(id, 'a') && isBase32(secret, 'a') {
			return hyphen - tokenIDLen
		}
	}
	return -1
}

// isBase32 reports whether a text has only the characters of [rand.Text], with the letters from a, which is 'A' or 'a'.
func isBase32(text string, a byte) bool {
	for _, c := range []byte(text) {
		if (c < a || c > a+25) && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
