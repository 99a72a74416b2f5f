package storable_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coder/aibridged/internal/storable"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":               "",
		"as it is ☃":     "as it is ☃",
		"a\x00b":         "a\uFFFDb",
		"bad \xff\xfe":   "bad \uFFFD",
		"\x00 and \xff":  "\uFFFD and \uFFFD",
		"kept: \uFFFD\t": "kept: \uFFFD\t",
	} {
		if got := storable.Text(text); got != want {
			t.Errorf("Text(%q) = %q, want %q", text, got, want)
		}
	}
}

// FuzzCut checks that Cut returns a prefix within the limit, which ends within a character only where the text is not
// valid UTF-8.
func FuzzCut(f *testing.F) {
	f.Add("Grüße ☃ 🎿", 5)
	f.Add("\xff\xff\xff", 2)
	f.Add("", 0)
	f.Add(strings.Repeat("\x80", 100), 50)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = max(limit, 0)
		cut := storable.Cut(text, limit)
		if !strings.HasPrefix(text, cut) || len(cut) > limit {
			t.Fatalf("Cut(%q, %d) = %q", text, limit, cut)
		}
		if utf8.ValidString(text) && !utf8.ValidString(cut) || len(cut) < min(limit, len(text))-utf8.UTFMax+1 {
			t.Errorf("Cut(%q, %d) = %q", text, limit, cut)
		}
	})
}
