package rederive_test

import (
	"math/rand/v2"
	"strings"
	"unicode/utf8"
)

// dice makes all random decisions, from one seed.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))} }

// oneIn returns true once in n times.
func (d dice) oneIn(n int) bool { return d.IntN(n) == 0 }

// upTo returns a number from 0 to n.
func (d dice) upTo(n int) int { return d.IntN(n + 1) }

func pick[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

// text returns words of many sorts: with characters to be escaped, of several bytes, not storable, or like words of the
// formats.
func (d dice) text() string {
	var text strings.Builder
	for range 1 + d.upTo(5) {
		text.WriteString(pick(d,
			"hello ", "a", "Ünï ", "日本語", "🌍🚀", "\"quoted\" ", `back\slash `, "line\nbreak ", "tab\t", "\u2028", "<b>&amp;</b> ",
			"[DONE]", "data: x\n\n", `{"usage":{"input_tokens":7}}`, "\r\n", "\x7f", "e\u0301", `"usage":`, "finish_reason", "null ", "\x01",
		))
	}
	if d.oneIn(400) {
		text.WriteString(strings.Repeat("long and longer ", 4000))
	}
	if d.oneIn(40) {
		text.WriteString(pick(d, "\x00end", " \xff end", half, half+"\n", half+"🌍"))
	}
	return text.String()
}

// word returns the end of an identifier.
func (d dice) word() string {
	return pick(d, "a", "B7", "x_1", "Ü", "0") + string(rune('a'+d.IntN(26))) + string(rune('a'+d.IntN(26))) + string(rune('0'+d.IntN(10)))
}

// pieces cuts text between characters, into one piece or many. Some pieces are empty.
func (d dice) pieces(text string) []string {
	var pieces []string
	if d.oneIn(4) {
		pieces = append(pieces, "")
	}
	for text != "" {
		n := min(len(text), 1+d.IntN(1+d.IntN(12))+len(text)/20)
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n++
		}
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}

// interleave merges sequences. Their first elements keep their order.
func interleave[T any](d dice, sequences [][]T) []T {
	var merged []T
	var open [][]T
	mixed := d.oneIn(2)
	for len(sequences) > 0 || len(open) > 0 {
		if len(sequences) > 0 && (len(open) == 0 || mixed && d.oneIn(3)) {
			merged = append(merged, sequences[0][0])
			open = append(open, sequences[0][1:])
			sequences = sequences[1:]
		}
		i := d.IntN(len(open))
		if len(open[i]) == 0 {
			open = append(open[:i], open[i+1:]...)
			continue
		}
		merged = append(merged, open[i][0])
		open[i] = open[i][1:]
	}
	return merged
}

// insert puts an element at a random index of a list, not less than from.
func insert[T any](d dice, list []T, from int, element T) []T {
	at := min(from, len(list))
	at += d.upTo(len(list) - at)
	return append(list[:at:at], append([]T{element}, list[at:]...)...)
}
