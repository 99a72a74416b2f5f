package aibridge

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestJudgePath(t *testing.T) {
	for escaped, accepted := range map[string]bool{
		"/anthropic/v1/messages":             true,
		"/openai/v1/models/ft:gpt-4:org::id": true,
		"/openai/v1/models/a%20b@c":          true,
		"/openai/v1/responses/resp_1/":       true,
		"/openai/v1/models/gpt-4.1":          true,
		"/":                                  true,
		"":                                   false,
		"anthropic":                          false,
		"//":                                 false,
		"/a//b":                              false,
		"/a/./b":                             false,
		"/a/..":                              false,
		"/a/b.":                              false,
		"/a;b":                               false,
		`/a\b`:                               false,
		"/a%2Fb":                             false,
		"/a%2eb":                             false,
		"/a%5cb":                             false,
		"/a%3Bb":                             false,
		"/a%25b":                             false,
		"/a%00":                              false,
		"/a%7f":                              false,
		"/a%2":                               false,
		"/a%zz":                              false,
		"/a\x01":                             false,
		"/ü":                                 false,
	} {
		if err := judgePath(escaped); (err == nil) != accepted {
			t.Errorf("judgePath(%q): %v", escaped, err)
		}
	}
}

// FuzzJudgeModelPath checks that an accepted path stays below the segments in front of its last one, whether or not a
// server reads escaped slashes as slashes, or drops dots at the end.
func FuzzJudgeModelPath(f *testing.F) {
	for _, seed := range []string{"a%2Fb", "..%2f..", "a%2F..", "x.", "...", "%2F", "a%2F", "a%252F..", "a%2F.%2Fb", "%2e%2e%2F"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		const below = "/openai/v1/models/"
		if strings.Contains(id, "/") || judgeModelPath(below+id, len(below), len(below+id)) != nil {
			return
		}
		plain, err := url.PathUnescape(below + id)
		if err != nil {
			t.Fatalf("accepted %q, which cannot be unescaped", id)
		}
		for _, reading := range []string{path.Clean(plain), path.Clean(strings.TrimRight(plain, ".")), path.Clean(below + id)} {
			if id != "" && !strings.HasPrefix(reading, below) {
				t.Errorf("accepted %q, which leads to %q", id, reading)
			}
		}
		if again, err := url.PathUnescape(plain); err != nil || again != plain || strings.ContainsAny(plain, ";\\\x00\r\n") {
			t.Errorf("accepted %q, which is %q", id, plain)
		}
	})
}

// FuzzJudgeModelWithin checks that however a server reads the id of a model within a path, the path stays between what is in
// front of the id and what is behind it.
func FuzzJudgeModelWithin(f *testing.F) {
	for _, seed := range []string{"arn:aws:bedrock:us-east-1:1:inference-profile%2Fa.b", "a%3Ab", "..", "a%2F..%2Fb", "a%2f%2fb", "x.", "%2e", "a%252Fb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		const before, behind = "/bedrock/model/", "/invoke"
		if strings.Contains(id, "/") || judgeModelPath(before+id+behind, len(before), len(before)+len(id)) != nil {
			return
		}
		plain, err := url.PathUnescape(id)
		if err != nil {
			t.Fatalf("accepted %q, which cannot be unescaped", id)
		}
		for _, reading := range []string{path.Clean(before + plain + behind), path.Clean(before + id + behind)} {
			if id != "" && (!strings.HasPrefix(reading, before) || !strings.HasSuffix(reading, behind) || len(reading) <= len(before+behind)) {
				t.Errorf("accepted %q, which leads to %q", id, reading)
			}
		}
	})
}

// FuzzJudgePath checks that nothing that other servers do to paths changes an accepted one.
func FuzzJudgePath(f *testing.F) {
	for _, seed := range []string{"/anthropic/v1/messages", "/a/%2e%2e/b", "/a//b", "/a;x/b", "/a%252e", "/%61/b", "/a/b/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		if judgePath(escaped) != nil {
			return
		}
		plain, err := url.PathUnescape(escaped)
		if err != nil {
			t.Fatalf("accepted %q, which cannot be unescaped", escaped)
		}
		if again, err := url.PathUnescape(plain); err != nil || again != plain {
			t.Errorf("accepted %q, which unescapes twice to %q", escaped, again)
		}
		if cleaned := path.Clean(plain); cleaned != strings.TrimSuffix(plain, "/") && plain != "/" {
			t.Errorf("accepted %q, which cleans to %q", escaped, cleaned)
		}
		if strings.Count(plain, "/") != strings.Count(escaped, "/") || strings.ContainsAny(plain, ";\\\x00\r\n") {
			t.Errorf("accepted %q, which is %q", escaped, plain)
		}
	})
}
