package wire_test

import (
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

func TestString(t *testing.T) {
	tests := map[string]struct{ value, want string }{
		"plain":               {`"a\"ü\\ud83d"`, `a"ü\ud83d`},
		"pair":                {`"\ud83d\ude80\uD83D\uDE80."`, "🚀🚀."},
		"high half":           {`"a\ud83db"`, "a\x00b"},
		"low half":            {`"a\uDE80b"`, "a\x00b"},
		"wrong order":         {`"\ude80\ud83d"`, "\x00\x00"},
		"half before escapes": {`"\ud83d\n\ud83d\u0041\ud83d\""`, "\x00\n\x00A\x00\""},
		"half before pair":    {`"\ud83d\ud83d\ude80"`, "\x00🚀"},
		"half at the end":     {`"a\ud83d"`, "a\x00"},
		"NUL":                 {`"a\u0000b"`, "a\x00b"},
		"no end":              {`"\ud\`, ""},
		"number":              {`7`, ""},
		"null":                {`null`, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := wire.String(gjson.Parse(test.value)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
