package jsonedit_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

// isCut feeds a text in pieces of that size.
func isCut(text []byte, size int) bool {
	var prefix jsonedit.Prefix
	for piece := range slices.Chunk(text, size) {
		prefix.Feed(piece)
	}
	return prefix.Cut()
}

func TestPrefix(t *testing.T) {
	cut := []string{
		`{`, `[`, `"`, ` {`, "\ufeff{", "\ufeff\n [",
		`{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":-`, `{"a":1.`, `{"a":1e`, `{"a":1e+`, `{"a":tr`, `{"a":true`, `{"a":1,`,
		`{"a":{"b":[1,{}]`, `[[]`, `[{}`, `"half a text`, `"a\"`, `"a\\\"`, "\"\xc3", "{\"a\":\"\xe2\x82", `{"a":"\u12`,
		`{"a":"}`, `{"a":"}"`, `{"a":["]`,
		`{"a":1}{`, `{"a":1} {"b":2`, "{}\n{}\n[", `{"a":1} "b`, `{"a":1} tru`, `{"a":1} n`, `[] -`,
		`{"a":NaN`, `[-Infinity`, `[-Inf`, `[1,2,`, "{\"a\":\"line\nbreak", "{\"a\":\"\x00",
	}
	whole := []string{
		``, ` `, "\r\n\t", "\ufeff", `{}`, ` {} `, "\ufeff{}", `[]`, `"a"`, `"a\\"`, `{"a":1}`, `[1,2]`, `{"a":"{["}`, `{"a":"\"["}`,
		`{"a":[{"b":null}]}`, `{} {}`, "{}\n[1]\n\"x\"", `{"a":1} 2`, `{"a":1} null`, `[-1.5e+3]`, `[-Infinity,NaN]`,
		`<html>`, `<html><script>{`, `upstream connect error`, `{"a":1}}`, `{}]`, `{not`, `{not json`, `[ERROR`, `[ERROR] {`, `{{.Title`,
		`{%`, `{'a`, `true`, `tru`, `n`, `1`, `-`, `data: {"a`, ": comment {", `{"a":1}; {`, `{"a":1} none {`, `{"a":nulls`, `{"a":truefalseNaN`,
		"\x1f\x8b\x08", "\x00{", "\xff{",
	}
	for want, texts := range map[bool][]string{true: cut, false: whole} {
		for _, text := range texts {
			for size := 1; size <= len(text)+1; size++ {
				if got := isCut([]byte(text), size); got != want {
					t.Errorf("%q in pieces of %d: cut %t", text, size, got)
				}
			}
		}
	}
}

// FuzzPrefix holds that a JSON object, array or string is not cut, that each beginning of one is, and that the size of
// the pieces does not matter.
func FuzzPrefix(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,-2.5e+3,true,null,"x\"\\\u00e9"],"b":{}} `, `["é",{"a":"}"}]`, `"text"`, `<html>`, `{"a":1}{"b`, "{\"a\":\"\xff\"}", `[-]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		whole := isCut(text, len(text)+1)
		for _, size := range []int{1, 2, 7} {
			if isCut(text, size) != whole {
				t.Fatalf("%q: in pieces of %d it is %t, in one %t", text, size, !whole, whole)
			}
		}
		value := bytes.Trim(text, " \t\r\n")
		if len(value) == 0 || !bytes.ContainsAny(value[:1], `{["`) || !json.Valid(value) {
			return
		}
		if whole {
			t.Fatalf("%q is cut", text)
		}
		for n := 1; n < len(value); n++ {
			if !isCut(value[:n], n) {
				t.Fatalf("%q of %q is not cut", value[:n], value)
			}
		}
	})
}

func BenchmarkPrefix(b *testing.B) {
	body := chatBody(200 << 10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var prefix jsonedit.Prefix
		if prefix.Feed(body); prefix.Cut() {
			b.Fatal("cut")
		}
	}
}
