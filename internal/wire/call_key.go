package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
)

// Place is where a turn stands in a conversation, as its client sends it.
type Place struct {
	Opening func() string // Returns the text of the user's first message. Nil: it is not known.
	Index   int           // How many messages, or input items, stand before it.
}

// fewRandom is how many letters and digits an id has at least that can be one of its own: fewer are counted, or drawn from
// few.
const fewRandom = 16

// ConversationKey begins the keys of conversations that a provider stores: what is kept under one changes with each answer,
// whichever gateway has it, so that what one gateway remembers may be old.
const ConversationKey = "conversation:"

// AnswerKey begins the keys of answers that a provider stores, and that a request can go on with.
const AnswerKey = "response:"

// PlaceMark ends the keys of what only its place in a conversation tells. Two conversations that begin alike have such keys in
// common, so that they must be told apart by what else is known of them.
const PlaceMark = "@"

// CallKey returns the key under which what the client has not seen of a turn is kept and found by one of its calls. Some
// servers number calls in each answer or conversation, mostly behind the tool's name. Such an id is the call's only at its place
// in its conversation, and its key has the [PlaceMark].
func CallKey(format, id, name string, at Place) string {
	rest := strings.Replace(id, name, "", 1)
	return PlacedKey(format, id, IsOwn(rest) || isDrawn(rest), at)
}

// PlacedKey returns a key of an id, with the [PlaceMark] unless it is that of one thing alone.
func PlacedKey(format, id string, isOwn bool, at Place) string {
	if isOwn {
		return format + ":" + id
	}
	opening := ""
	if at.Opening != nil {
		opening = at.Opening()
	}
	sum := sha256.Sum256([]byte(strconv.Itoa(at.Index) + "\x00" + opening))
	return format + ":" + id + ":" + base64.RawURLEncoding.EncodeToString(sum[:12]) + PlaceMark
}

// isDrawn reports whether a short id looks like one that was drawn at random, and not like a number, which may stand behind a word:
// letters follow digits in it, or small and capital letters each other.
func isDrawn(id string) bool {
	const (
		shortest = 4
		longer   = 8
		word     = 3 // Letters between numbers that are a word, as in "round1call2".
	)
	for run := range strings.FieldsFuncSeq(id, func(c rune) bool { return !isDigit(c) && !isLetter(c) }) {
		rises, behind, shortestBehind := 0, 0, word
		previous := rune(0)
		for _, c := range run {
			switch {
			case isDigit(c):
				if behind > 0 {
					shortestBehind = min(shortestBehind, behind)
				}
				behind = 0
			case isDigit(previous), behind > 0:
				behind++
			}
			if 'A' <= c && c <= 'Z' && 'a' <= previous && previous <= 'z' {
				rises++
			}
			previous = c
		}
		if behind > 0 && len(run) >= shortest || shortestBehind < word && len(run) >= longer || rises >= word {
			return true
		}
	}
	return false
}

func isLetter(c rune) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// IsOwn reports whether an id can be that of one thing alone, which nobody finds by guessing.
func IsOwn(id string) bool {
	random := 0
	for _, c := range id {
		if isDigit(c) || isLetter(c) {
			random++
		}
	}
	return random >= fewRandom
}
