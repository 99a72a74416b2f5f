package credential_test

import (
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/credential"
)

// Words that begin as keys do are hidden wherever a word can begin, and prose is left.
func TestHideKeys(t *testing.T) {
	t.Parallel()
	const key = "sk-fake-upstream-key-1234567890"
	for text, want := range map[string]string{
		"Incorrect API key provided: " + key + ".":  "Incorrect API key provided: [redacted].",
		`{"message":"a\n` + key + `\tb"}`:           `{"message":"a\n[redacted]\tb"}`,
		`{"k":"\u000a` + key + `"}`:                 `{"k":"\u000a[redacted]"}`,
		`&#34;` + key + `&#34; ` + key:              `&#34;[redacted]&#34; [redacted]`,
		`C:\` + key:                                 `C:\[redacted]`,
		key:                                         "[redacted]",
		"AIzaSyA-1234567890123456":                  "[redacted]",
		"x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.sig y": "x [redacted] y",
		"basic understanding of bearer certificates, task-force-of-the-year, sk-a...wxyz": "basic understanding of bearer certificates, task-force-of-the-year, sk-a...wxyz",
		"": "",
	} {
		if got := credential.HideKeys(text); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
	if got := credential.HideKeys(strings.Repeat(" ", 1<<20) + "\\"); len(got) != 1<<20+1 {
		t.Errorf("%d bytes", len(got))
	}
}
