package jsonedit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/jsonedit"
)

func nested(n int, opening, inside, closing string) string {
	return strings.Repeat(opening, n) + inside + strings.Repeat(closing, n)
}

func TestMaxDepth(t *testing.T) {
	tests := []struct {
		name string
		body func(depth int) string
	}{
		{"arrays", func(n int) string { return `{"a":` + nested(n-1, "[", "", "]") + `}` }},
		{"objects", func(n int) string { return nested(n, `{"a":`, "1", "}") }},
		{"both", func(n int) string {
			opening, closing := strings.Repeat(`{"a":[`, n), strings.Repeat("]}", n)
			inner := len(`{"a":[`)*(n/2) + n%2*len(`{"a":`)
			return opening[:inner] + "1" + closing[len(closing)-n:]
		}},
		{"in an element", func(n int) string { return `{"a":[1,[],` + nested(n-2, "[", "1", "]") + `],"b":2}` }},
		{"after others", func(n int) string { return `{"x":[[[]]],"a":` + nested(n-1, "[ ", "1", " ]") + `}` }},
		{"in an array", func(n int) string { return nested(n, "[", "1", "]") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, depth := range []int{jsonedit.MaxDepth - 1, jsonedit.MaxDepth, jsonedit.MaxDepth + 1} {
				body := []byte(test.body(depth))
				_, err := jsonedit.Parse(body)
				if errors.Is(err, jsonedit.ErrInvalid) {
					t.Fatalf("depth %d: %v", depth, err)
				}
				tooDeep := depth > jsonedit.MaxDepth
				if errors.Is(err, jsonedit.ErrDepth) != tooDeep {
					t.Errorf("depth %d: parse: %v", depth, err)
				}
				if err := jsonedit.CheckDepth(body); errors.Is(err, jsonedit.ErrDepth) != tooDeep {
					t.Errorf("depth %d: check: %v", depth, err)
				}
			}
		})
	}
}

func TestDepthError(t *testing.T) {
	body := []byte(`{"a":` + strings.Repeat("[", 600))
	const want = "JSON nested too deeply: more than 512 levels at byte 516"
	if _, err := jsonedit.Parse(body); err == nil || err.Error() != want {
		t.Errorf("parse: %v", err)
	}
	if err := jsonedit.CheckDepth(body); err == nil || err.Error() != want {
		t.Errorf("check: %v", err)
	}
}

// Fault 22: a body that is nested 10 thousand, 1 million or 6 million deep is refused, in less than 10 ms per MB,
// wherever in the body the nesting is.
func TestFault22(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, n := range []int{10_000, 1_000_000, 6_000_000} {
		bodies := map[string]string{
			"open arrays":     `{"messages":` + strings.Repeat("[", n),
			"open objects":    strings.Repeat(`{"a":`, n),
			"closed arrays":   `{"messages":[` + nested(n, "[", "", "]") + `]}`,
			"closed objects":  `{"messages":[` + nested(n, `{"a":`, "1", "}") + `]}`,
			"no object":       nested(n, "[", "", "]"),
			"behind the rest": `{"system":"` + long + `","messages":["` + long + `"],"a":` + strings.Repeat("[", n),
		}
		for name, text := range bodies {
			t.Run(fmt.Sprintf("%d %s", n, name), func(t *testing.T) {
				body := []byte(text)
				limit := slowdown * time.Duration(len(body)) * 10 * time.Millisecond / 1e6
				for what, check := range map[string]func() error{
					"parse": func() error { _, err := jsonedit.Parse(body); return err },
					"check": func() error { return jsonedit.CheckDepth(body) },
				} {
					best := time.Hour // The best of several tries, since the machine may be busy during one.
					for range 10 {
						start := time.Now()
						if err := check(); !errors.Is(err, jsonedit.ErrDepth) {
							t.Fatalf("%s: %v", what, err)
						}
						best = min(best, time.Since(start))
					}
					if best > limit {
						t.Errorf("%s: took %v, limit %v", what, best, limit)
					}
				}
			})
		}
	}
}

func TestCheckDepth(t *testing.T) {
	many := strings.Repeat("[", jsonedit.MaxDepth+1)
	tests := []struct {
		name, data string
		deep       bool
	}{
		{"empty", "", false},
		{"not JSON", "<html>", false},
		{"in a string", `{"a":"` + many + `"}`, false},
		{"in a string behind an escaped quote", `{"a":"\"` + many + `"}`, false},
		{"behind a string that ends with a backslash", `{"a":"\\",` + many, true},
		{"in a string behind backslashes and a quote", `{"a":"\\\"` + many + `"}`, false},
		{"in a string without an end", `{"a":"` + many, false},
		{"in a string that ends with an escape", `{"a":"` + many + `\"`, false},
		{"behind a string", `"a"` + many, true},
		{"behind an empty string", `""` + many, true},
		{"side by side", strings.Repeat("[],{},", 10_000), false},
		{"closed before", strings.Repeat("]", 10_000) + many, true},
		{"closed by the other kind", strings.Repeat("[}", jsonedit.MaxDepth+1), true},
		{"crossed", strings.Repeat("[{]}", 10_000), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := jsonedit.CheckDepth([]byte(test.data)); errors.Is(err, jsonedit.ErrDepth) != test.deep {
				t.Errorf("%v, want an error: %v", err, test.deep)
			}
		})
	}
}
