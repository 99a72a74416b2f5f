package credential

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// TestWithoutEcho checks the ways in which an upstream may write a secret, and what is left alone.
func TestWithoutEcho(t *testing.T) {
	const secret = "sk-live/AbCd+0123456789==wxyz"
	hint := Hint(secret)
	escaped := strings.NewReplacer("/", `\/`, "+", `\u002B`, "=", `\u003d`).Replace(secret)
	for name, test := range map[string]struct{ text, want string }{
		"as it is":            {`{"error":"wrong: ` + secret + `."}`, `{"error":"wrong: ` + hint + `."}`},
		"twice":               {secret + " " + secret, hint + " " + hint},
		"in JSON's escapes":   {`{"a":"\n","error":"wrong ` + escaped + `"}`, `{"a":"\n","error":"wrong ` + hint + `"}`},
		"beside other ones":   {`"\u00e9\"\\` + escaped + `\t"`, `"\u00e9\"\\` + hint + `\t"`},
		"in a query":          {"/v1?k=" + url.QueryEscape(secret) + " no", "[redacted] no"},
		"in base64":           {"Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+secret)), "Basic [redacted]"},
		"without its end":     {"wrong: " + secret[:len(secret)-3] + "***", "wrong: sk-l...***"},
		"without its start":   {"wrong: ***" + secret[3:], "wrong: ***...wxyz"},
		"masked by upstream":  {"wrong: " + secret[:8] + "*****" + secret[len(secret)-4:], "wrong: " + secret[:8] + "*****" + secret[len(secret)-4:]},
		"nothing of it":       {`{"error":"no \/ such \u00e9 key \\ \u002b, see https://example.com/a\/b"}`, `{"error":"no \/ such \u00e9 key \\ \u002b, see https://example.com/a\/b"}`},
		"bytes that are odd":  {"\xff\x00\\u\\", "\xff\x00\\u\\"},
		"a short secret":      {"none", "none"},
		"an escape in nobody": {`\u00zz` + secret, `\u00zz` + hint},
	} {
		of := secret
		if name == "a short secret" {
			of = "none"
		}
		if got := WithoutEcho(test.text, of); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// FuzzWithoutEcho checks that no secret is left, that a text without one stays as it is, and that JSON stays JSON.
func FuzzWithoutEcho(f *testing.F) {
	const secret = "sk-live/AbCd+0123456789==wxyz"
	f.Add(`{"error":"x `, ` y"}`, true)
	f.Add(`{"error":"\u002b\/`, `\\"}`, true)
	f.Add(`\`, `"`, false)
	f.Fuzz(func(t *testing.T, before, behind string, has bool) {
		text := before + behind
		if has {
			text = before + secret + behind
		}
		got := WithoutEcho(text, secret)
		if strings.Contains(got, secret) {
			t.Fatalf("%q still has it", got)
		}
		if !has && !strings.Contains(text, secret[:16]) && !strings.Contains(text, secret[len(secret)-16:]) && strings.IndexByte(text, '\\') < 0 && !(Tokens{Presented: secret}).In(text) && got != text {
			t.Fatalf("%q became %q", text, got)
		}
		if json.Valid([]byte(text)) && got != hidden && !json.Valid([]byte(got)) {
			t.Fatalf("%q became %q, which is no JSON", text, got)
		}
	})
}
