package visible_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/visible"
)

const hostile = "a\x1b[31mb\u009b1mc\x07\u202egnp\u2066\u2069\u200e\u061c\x00\x7f\r\u2028\u206a\U000E0041\n\ttail 日本 👩‍💻 é"

func TestText(t *testing.T) {
	t.Parallel()
	const r = "\uFFFD"
	want := "a" + r + "[31mb" + r + "1mc" + r + r + "gnp" + strings.Repeat(r, 10) + "\n\ttail 日本 👩‍💻 é"
	if got := visible.Text(hostile); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	if got := visible.Text("plain\n\ttext ü"); got != "plain\n\ttext ü" {
		t.Errorf("%q", got)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add(hostile)
	f.Add("\u2028\U000E0041\U0001F600")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?")
		var out bytes.Buffer
		encoder := json.NewEncoder(visible.JSON(&out))
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(map[string]string{text: text}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(out.String(), visible.IsHidden) {
			t.Errorf("%q", out.String())
		}
		var back map[string]string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back[text] != text {
			t.Errorf("%q became %q, %v", text, back, err)
		}
	})
}
