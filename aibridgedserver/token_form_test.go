package aibridgedserver_test

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridgedserver"
)

func TestFindToken(t *testing.T) {
	const made, coder = "ABCDEFGHI2-ABCDEFGHIJKLMNOPQRSTUVWXYZ", "aB3dE6gH9j-aB3dE6gH9jaB3dE6gH9jaB"
	for text, want := range map[string]string{
		made:                          made,
		coder:                         coder,
		"Bearer " + made + ".":        made,
		"x" + made + "y":              made,
		"sk-" + made:                  made,
		"models/" + made + "-more":    made,
		strings.ToLower(made):         strings.ToLower(made),
		`{"a":"` + coder + `"}`:       coder,
		"a-b-c " + coder + " " + made: coder,
		coder + coder:                 coder + coder[:10], // The secret goes on until the next hyphen.
		"sk-" + coder:                 "",                 // As it can occur by chance in a provider's key.
		"x" + coder:                   "",
		made[:32]:                     "",
		coder[:32]:                    "",
		"":                            "",
		"-":                           "",
		strings.Repeat("-", 100):      "",
		"sk-ant-api03-" + strings.Repeat("aB3-", 30):        "",
		"4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7": "",
		"0b0a7a4e-3c5c-4a57-9a5a-0f4bd0a3a3f7":              "",
	} {
		start, end := aibridgedserver.FindToken(text)
		if got := ""; start >= 0 {
			if got = text[start:end]; got != want {
				t.Errorf("in %q: %q, want %q", text, got, want)
			}
		} else if want != "" {
			t.Errorf("in %q: nothing, want %q", text, want)
		}
	}
}

// TestFindTokenKnowsWhatIsMade checks the form against the tokens that are made.
func TestFindTokenKnowsWhatIsMade(t *testing.T) {
	s := newControlPlane(t)
	for range 100 {
		token, _, err := s.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		if start, end := aibridgedserver.FindToken("a" + token + "a"); start != 1 || end != 1+len(token) {
			t.Fatalf("the token %q is found at %d to %d", token, start, end)
		}
	}
}

// TestFindTokenLeavesProviderKeysAlone checks that the random keys of providers are hardly ever taken for tokens.
func TestFindTokenLeavesProviderKeysAlone(t *testing.T) {
	for range 100_000 {
		var random [96]byte
		_, _ = rand.Read(random[:]) // It never fails.
		key := "sk-ant-api03-" + base64.RawURLEncoding.EncodeToString(random[:])
		if start, end := aibridgedserver.FindToken(key); start >= 0 {
			t.Fatalf("a token in %q: %q", key, key[start:end])
		}
	}
}

func FuzzFindToken(f *testing.F) {
	f.Add("a", "ABCDEFGHI2-ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	f.Fuzz(func(t *testing.T, before, after string) {
		const token = "ABCDEFGHI2-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		text := before + token + after
		start, end := aibridgedserver.FindToken(text)
		if start < 0 || start > len(before) || end <= start || end > len(text) {
			t.Fatalf("%d to %d in %q", start, end, text)
		}
	})
}
