package jsonedit_test

import (
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

func TestString(t *testing.T) {
	tests := []struct {
		value, want string
		ok          bool
	}{
		{`""`, "", true},
		{`"a"`, "a", true},
		{`"é€😀"`, "é€😀", true},
		{`"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t", true},
		{`"\u0041\u00e9\u20AC\u0000"`, "Aé€\x00", true},
		{`"\ud83d\ude00\uD83D\uDE00"`, "😀😀", true},
		{`"` + strings.Repeat("aé", 100) + `\n` + `"`, strings.Repeat("aé", 100) + "\n", true},

		// Fault 30.
		{"\"a\xffb\"", "a\ufffdb", true},
		{"\"\xe2\x82\\n\xac\"", "\ufffd\ufffd\n\ufffd", true},
		{`"\ud83d"`, "\ufffd", true},
		{`"\ude00x"`, "\ufffdx", true},
		{`"\ud83d\n"`, "\ufffd\n", true},
		{`"\ud83d\u0041"`, "\ufffdA", true},
		{`"\ud83d\ud83d\ude00"`, "\ufffd😀", true},
		{`"\ude00\ud83d"`, "\ufffd\ufffd", true},
		{`"\ufffd"`, "\ufffd", true},

		{``, "", false},
		{`"`, "", false},
		{`a`, "", false},
		{`1`, "", false},
		{`null`, "", false},
		{`["a"]`, "", false},
		{`"a`, "", false},
		{`a"`, "", false},
		{`"a\"`, "", false},
		{`"a"b"`, "", false},
		{`"a" `, "", false},
		{` "a"`, "", false},
		{"\"a\nb\"", "", false},
		{`"\x"`, "", false},
		{`"\u123"`, "", false},
		{`"\ud83d\u12"`, "", false},
	}
	for _, test := range tests {
		got, ok := jsonedit.String([]byte(test.value))
		if got != test.want || ok != test.ok {
			t.Errorf("%s: %q, %v; want %q, %v", test.value, got, ok, test.want, test.ok)
		}
	}
}
