package join

import (
	"strings"
	"testing"
)

// FuzzGreeting reads any bytes as a greeting. Nothing behind the line is read, what is accepted is what that gateway would
// send, and no error repeats it.
func FuzzGreeting(f *testing.F) {
	token := NewToken(nil)
	for _, seed := range []string{
		"", "\n", Token{}.greeting(), token.greeting(), token.greeting() + "more", "certificate\r\n", "token  \n", strings.Repeat("x", 2*longestLine), "refused no\n", "welcome\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said string) {
		reader := strings.NewReader(said)
		line, err := readLine(reader)
		read := len(said) - reader.Len()
		if err != nil {
			if end := strings.IndexByte(said, '\n'); end >= 0 && end <= longestLine {
				t.Errorf("%q: %v", said, err)
			}
			if read > longestLine+1 {
				t.Errorf("%d bytes are read", read)
			}
			return
		}
		if line+"\n" != said[:read] {
			t.Errorf("%q was read as %q", said[:read], line)
		}
		got, err := parseGreeting(line)
		switch {
		case err == nil && got.greeting() != line+"\n":
			t.Errorf("%q is taken for %q", line, got.greeting())
		case err != nil && len(line) > 8 && strings.Contains(err.Error(), line):
			t.Errorf("%v repeats the greeting", err)
		}
	})
}
