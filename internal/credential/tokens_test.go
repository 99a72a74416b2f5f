package credential

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
)

func TestFindCoderKey(t *testing.T) {
	const key = "aB3dE6gH9j-aB3dE6gH9jaB3dE6gH9jaB"
	for text, want := range map[string]bool{
		key: true, " " + key: true, "a:" + key + ":b": true, "user_" + key: true, "x-y-" + key: true, key + "-more": true,
		"sk-" + key: false, "sk-proj-" + key: false, "a" + key: false, key[:32]: false, strings.Repeat("a-", 50) + key: false,
		"": false, "-": false, strings.Repeat("-", 64): false, key[1:]: false,
	} {
		if start, end := FindCoderKey(text); (start >= 0) != want || want && text[start:end] != key {
			t.Errorf("in %q: %d to %d", text, start, end)
		}
	}
}

// TestRedactKeepsTheRest checks that only what belongs to a credential is taken out of a text.
func TestRedactKeepsTheRest(t *testing.T) {
	const key = "sk-0123456789abcdefghij"
	for text, want := range map[string]string{
		"no key":                      "no key",
		"see sk-0 and hij":            "see sk-0 and hij", // No more than the hint shows.
		"key " + key + ".":            "key sk-0...ghij.",
		"key " + key[:10] + "***":     "key sk-0...***",
		"key ***" + key[15:] + ", or": "key ***...ghij, or",
		key[:8] + "…" + key[17:]:      "sk-0...…...ghij",
		"Basic " + base64.StdEncoding.EncodeToString([]byte("a:"+key)) + " is wrong": "Basic [redacted] is wrong",
		"a " + strings.ReplaceAll(key, "-", "%2D") + " b":                            "a [redacted] b",
	} {
		if got := Redact(text, key); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestHide(t *testing.T) {
	const key = "sk-ant-api03-0123456789abcdef"
	for _, text := range []string{
		"route not supported: GET /v1/models/" + key, "/v1/models/" + strings.ReplaceAll(key, "-", "%2D"),
		"Bearer 0123456789abcdef", "bearer+0123456789abcdef", "https://a.example/?api_key=0123456789abcdef&x=1",
		"https://user:0123456789abcdef@a.example", "openai-insecure-api-key." + key, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.0123456789abcdef",
		"AKIA0123456789abcdef", "ya29.a0123456789abcdef",
	} {
		if got := Hide(text); strings.Contains(got, "0123456789abcdef") || !strings.Contains(got, hidden) {
			t.Errorf("%q became %q", text, got)
		}
	}
	for _, text := range []string{
		"", "claude-cli/2.1.330 (external, sdk-cli)", "text/event-stream; charset=utf-8", "fine-grained-tool-streaming-2025-05-14",
		"0b0a7a4e-3c5c-4a57-9a5a-0f4bd0a3a3f7", "task-0123456789-abcdefghijklm", "/v1/models/claude-sonnet-4-5-20250929", "a=b&c=d", "100%",
	} {
		if got := Hide(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// FuzzTokens checks that a token is found in any text and in each encoding, and that nothing of it is left after Redact.
func FuzzTokens(f *testing.F) {
	f.Add("", "", uint8(0))
	f.Add("user:", "@host", uint8(1))
	f.Add("abc", "%", uint8(5))
	f.Fuzz(func(t *testing.T, before, after string, coding uint8) {
		const token = "AbCdEfGhIj-0123456789AbCdEfGhIjKl"
		text := before + " " + token + " " + after
		for range coding % 4 {
			switch coding >> 2 & 3 {
			case 0:
				text = url.PathEscape(text)
			case 1:
				text = base64.StdEncoding.EncodeToString([]byte(text))
			case 2:
				text = base64.RawURLEncoding.EncodeToString([]byte(text))
			case 3:
				text = "x" + url.QueryEscape(text)
			}
		}
		for _, tokens := range []Tokens{{Presented: token}, {Find: FindCoderKey}} {
			if !tokens.In(text) {
				t.Errorf("%+v: nothing in %q", tokens, text)
			}
			if redacted := tokens.Redact(text); tokens.In(redacted) || strings.Contains(redacted, token) {
				t.Errorf("%+v: %q became %q", tokens, text, redacted)
			}
		}
	})
}
