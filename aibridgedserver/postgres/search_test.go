package postgres

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever a text has, its words can be in quotes of a tsquery, and none is too long for a tsvector.
func FuzzWords(f *testing.F) {
	for _, seed := range []string{"", "Fix the TEST", "naïve 世界 한국어", "' & !a:* \\", "a\x00b\xff", strings.Repeat("é", 5000), "\u0301", "İSTANBUL"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, word := range wordsOf(text) {
			if word == "" || len(word) > longestWord || !utf8.ValidString(word) || strings.ContainsAny(word, " '\\\x00&|!():*<>") {
				t.Errorf("%q has the word %q", text, word)
			}
		}
	})
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"Fix the TEST": "fix the test", "naïve 世界": "naive 世界", "İstanbul, 한국어": "istanbul 한국어", "a.b_c-d": "a b c d", "\u0301 '": "", "x\xffy": "x y",
	} {
		if got := wordsOf(text); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q has the words %q, want %q", text, got, want)
		}
	}
}
