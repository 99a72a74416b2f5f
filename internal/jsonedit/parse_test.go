package jsonedit_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/jsonedit"
)

func parse(t *testing.T, body string) jsonedit.Object {
	t.Helper()
	object, err := jsonedit.Parse([]byte(body))
	if err != nil {
		t.Fatalf("%.100s: %v", body, err)
	}
	return object
}

func TestParseAccepts(t *testing.T) {
	tests := []struct {
		name, body string
	}{
		{"empty", `{}`},
		{"white space", " \t\r\n{ \t\r\n} \t\r\n"},
		{"white space within", "{ \"a\" : [ 1 , 2 ] , \"b\" : { \"c\" : 3 } }\n"},
		{"literals", `{"a":true,"b":false,"c":null}`},
		{"empty ones", `{"a":{},"b":[],"c":""}`},
		{"empty name", `{"":1}`},
		{"nested", `{"a":[[{"b":[{}]}],[]]}`},
		{"same names below the top level", `{"a":{"b":1,"b":2,"B":3},"c":[{"a":1}]}`},
		{"escapes", `{"\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00":"\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00"}`},
		{"delete is no control character", "{\"a\":\"\x7f\"}"},
		{"fault 30: invalid UTF-8", "{\"a\xff\":\"\xff\xc3\"}"},
		{"fault 30: lone surrogates", `{"\ud800":"\udc00\ud800x"}`},
		{"fault 30: NUL, escaped", `{"a":"\u0000"}`},
		{"fault 32: numbers", `{"a":[0,-0,1e400,-1.5E+99,0.0e-7,12345678901234567890]}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if object := parse(t, test.body); string(object.Bytes()) != test.body {
				t.Errorf("bytes %q, want %q", object.Bytes(), test.body)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		body string
		want error
		text string // The error's text.
	}{
		// Fault 28.
		{"", jsonedit.ErrInvalid, "invalid JSON: it ends at byte 0, expected a value"},
		{" \n", jsonedit.ErrInvalid, "invalid JSON: it ends at byte 2, expected a value"},
		{"\ufeff{}", jsonedit.ErrInvalid, `invalid JSON: "\xef" at byte 0, expected a value`},
		{"<html>", jsonedit.ErrInvalid, `invalid JSON: "<" at byte 0, expected a value`},
		{"{}}", jsonedit.ErrInvalid, `invalid JSON: "}" at byte 2, expected nothing more`},
		{"{} {}", jsonedit.ErrInvalid, `invalid JSON: "{" at byte 3, expected nothing more`},
		{"{}\x00", jsonedit.ErrInvalid, `invalid JSON: "\x00" at byte 2, expected nothing more`},
		{"{}\v", jsonedit.ErrInvalid, `invalid JSON: "\v" at byte 2, expected nothing more`},
		{"{", jsonedit.ErrInvalid, "invalid JSON: it ends at byte 1, expected a name in quotes"},
		{"{,}", jsonedit.ErrInvalid, `invalid JSON: "," at byte 1, expected a name in quotes`},
		{"{a:1}", jsonedit.ErrInvalid, `invalid JSON: "a" at byte 1, expected a name in quotes`},
		{"{1:1}", jsonedit.ErrInvalid, `invalid JSON: "1" at byte 1, expected a name in quotes`},
		{`{"a"}`, jsonedit.ErrInvalid, `invalid JSON: "}" at byte 4, expected a colon`},
		{`{"a":}`, jsonedit.ErrInvalid, `invalid JSON: "}" at byte 5, expected a value`},
		{`{"a":1`, jsonedit.ErrInvalid, "invalid JSON: it ends at byte 6, expected a comma or }"},
		{`{"a":1,}`, jsonedit.ErrInvalid, `invalid JSON: "}" at byte 7, expected a name in quotes`},
		{`{"a":1 "b":2}`, jsonedit.ErrInvalid, `invalid JSON: "\"" at byte 7, expected a comma or }`},
		{`{"a":1]`, jsonedit.ErrInvalid, `invalid JSON: "]" at byte 6, expected a comma or }`},
		{`{"a":[1}`, jsonedit.ErrInvalid, `invalid JSON: "}" at byte 7, expected a comma or ]`},
		{`{"a":[1,]}`, jsonedit.ErrInvalid, `invalid JSON: "]" at byte 8, expected a value`},
		{`{"a":[,1]}`, jsonedit.ErrInvalid, `invalid JSON: "," at byte 6, expected a value`},
		{`{"a":[1 2]}`, jsonedit.ErrInvalid, `invalid JSON: "2" at byte 8, expected a comma or ]`},
		{`{"a":[[1}]}`, jsonedit.ErrInvalid, `invalid JSON: "}" at byte 8, expected a comma or ]`},
		{`{"a":{"b":1]}`, jsonedit.ErrInvalid, `invalid JSON: "]" at byte 11, expected a comma or }`},
		{`{"a":{"b" 1}}`, jsonedit.ErrInvalid, `invalid JSON: "1" at byte 10, expected a colon`},
		{`{"a":{"b":1,}}`, jsonedit.ErrInvalid, `invalid JSON: "}" at byte 12, expected a name in quotes`},
		{`{"a":{,}}`, jsonedit.ErrInvalid, `invalid JSON: "," at byte 6, expected a name in quotes`},
		{`{"a":tru}`, jsonedit.ErrInvalid, `invalid JSON: "t" at byte 5, expected true`},
		{`{"a":nul`, jsonedit.ErrInvalid, `invalid JSON: "n" at byte 5, expected null`},
		{`{"a":False}`, jsonedit.ErrInvalid, `invalid JSON: "F" at byte 5, expected a value`},
		{`{"a":truer}`, jsonedit.ErrInvalid, `invalid JSON: "r" at byte 9, expected a comma or }`},
		{`{"a":NaN}`, jsonedit.ErrInvalid, `invalid JSON: "N" at byte 5, expected a value`},
		{`{"a":+1}`, jsonedit.ErrInvalid, `invalid JSON: "+" at byte 5, expected a value`},
		{`{"a":-}`, jsonedit.ErrInvalid, `invalid JSON: "}" at byte 6, expected a digit`},
		{`{"a":.5}`, jsonedit.ErrInvalid, `invalid JSON: "." at byte 5, expected a value`},
		{`{"a":1.}`, jsonedit.ErrInvalid, `invalid JSON: "}" at byte 7, expected a digit`},
		{`{"a":1.e3}`, jsonedit.ErrInvalid, `invalid JSON: "e" at byte 7, expected a digit`},
		{`{"a":1e}`, jsonedit.ErrInvalid, `invalid JSON: "}" at byte 7, expected a digit`},
		{`{"a":1e+`, jsonedit.ErrInvalid, "invalid JSON: it ends at byte 8, expected a digit"},
		{`{"a":01}`, jsonedit.ErrInvalid, `invalid JSON: "1" at byte 6, expected a comma or }`},
		{`{"a":-01}`, jsonedit.ErrInvalid, `invalid JSON: "1" at byte 7, expected a comma or }`},
		{`{"a":0x1}`, jsonedit.ErrInvalid, `invalid JSON: "x" at byte 6, expected a comma or }`},
		{`{"a":"b`, jsonedit.ErrInvalid, "invalid JSON: it ends at byte 7, expected the end of a string"},
		{`{"a":"b\`, jsonedit.ErrInvalid, `invalid JSON: "\\" at byte 7, expected a valid escape`},
		{`{"a":"\x41"}`, jsonedit.ErrInvalid, `invalid JSON: "\\" at byte 6, expected a valid escape`},
		{`{"a":"\u12g4"}`, jsonedit.ErrInvalid, `invalid JSON: "\\" at byte 6, expected a valid escape`},
		{`{"a":"\u12`, jsonedit.ErrInvalid, `invalid JSON: "\\" at byte 6, expected a valid escape`},
		{"{\"a\":\"\n\"}", jsonedit.ErrInvalid, `invalid JSON: "\n" at byte 6, expected no control character in a string`},
		{"{\"a\x1f\":1}", jsonedit.ErrInvalid, `invalid JSON: "\x1f" at byte 3, expected no control character in a string`},
		{`{'a':1}`, jsonedit.ErrInvalid, `invalid JSON: "'" at byte 1, expected a name in quotes`},
		{`{"a":1/**/}`, jsonedit.ErrInvalid, `invalid JSON: "/" at byte 6, expected a comma or }`},
		{`[1`, jsonedit.ErrInvalid, "invalid JSON: it ends at byte 2, expected a comma or ]"},
		{`1 x`, jsonedit.ErrInvalid, `invalid JSON: "x" at byte 2, expected nothing more`},

		{`[]`, jsonedit.ErrNotObject, "not a JSON object"},
		{` [{"a":1}] `, jsonedit.ErrNotObject, "not a JSON object"},
		{`"a"`, jsonedit.ErrNotObject, "not a JSON object"},
		{`-1e9`, jsonedit.ErrNotObject, "not a JSON object"},
		{`null`, jsonedit.ErrNotObject, "not a JSON object"},

		// Fault 29.
		{
			`{"model":"a","stream":true,"model":"b"}`, jsonedit.ErrDuplicate,
			`duplicate name in JSON object: "model" at byte 1 and "model" at byte 27`,
		},
		{`{"a":1,"A":2}`, jsonedit.ErrDuplicate, `duplicate name in JSON object: "a" at byte 1 and "A" at byte 7`},
		{`{"a":1,"\u0061":2}`, jsonedit.ErrDuplicate, `duplicate name in JSON object: "a" at byte 1 and "a" at byte 7`},
		{`{"\u0041":1,"a":2}`, jsonedit.ErrDuplicate, `duplicate name in JSON object: "A" at byte 1 and "a" at byte 12`},
		{`{"É":1,"é":2}`, jsonedit.ErrDuplicate, `duplicate name in JSON object: "É" at byte 1 and "é" at byte 8`},
		{
			`{"ſtream":1,"STREAM":2}`, jsonedit.ErrDuplicate,
			`duplicate name in JSON object: "ſtream" at byte 1 and "STREAM" at byte 13`,
		},
		{
			"{\"a\xff\":1,\"a\xfe\":2}", jsonedit.ErrDuplicate,
			`duplicate name in JSON object: "a�" at byte 1 and "a�" at byte 8`,
		},
		{
			`{"` + strings.Repeat("n", 100) + `":1,"` + strings.Repeat("N", 100) + `":2}`, jsonedit.ErrDuplicate,
			`duplicate name in JSON object: "` + strings.Repeat("n", 64) + `"… at byte 1 and "` +
				strings.Repeat("N", 64) + `"… at byte 106`,
		},
	}
	for _, test := range tests {
		t.Run(test.body, func(t *testing.T) {
			object, err := jsonedit.Parse([]byte(test.body))
			if !errors.Is(err, test.want) || err.Error() != test.text {
				t.Errorf("%v\nwant %v", err, test.text)
			}
			if object.Bytes() != nil {
				t.Error("an object came with the error")
			}
		})
	}
}

// The scanner finds a special byte at any position in a string.
func TestStringPositions(t *testing.T) {
	for _, length := range []int{1, 7, 8, 9, 31, 32, 33, 41, 65} {
		for at := range length {
			for _, filler := range []string{" ", "!", "#", "x", "\x7f", "\x80", "\xff", "\\\\"} {
				fill := func(special string) string {
					return `{"a":"` + strings.Repeat(filler, at) + special + strings.Repeat(filler, length-at-1) + `"}`
				}
				parse(t, fill("]"))
				parse(t, fill(`\"`))
				for _, bad := range []string{"\x00", "\x1f", `"`, `\x`} {
					if _, err := jsonedit.Parse([]byte(fill(bad))); !errors.Is(err, jsonedit.ErrInvalid) {
						t.Fatalf("%q: %v", fill(bad), err)
					}
				}
			}
		}
	}
}

func TestGet(t *testing.T) {
	object := parse(t, ` {"model" : "m", "\u0073tream":true,"n": -1e400 ,`+
		`"o":{ "model":"other" },"a":[1, [2] ],"":null,"é\n":0} `)
	tests := []struct {
		name, want string
		ok         bool
	}{
		{"model", `"m"`, true},
		{"stream", "true", true},
		{"n", "-1e400", true},
		{"o", `{ "model":"other" }`, true},
		{"a", "[1, [2] ]", true},
		{"", "null", true},
		{"é\n", "0", true},
		{"Model", "", false},
		{`\u0073tream`, "", false},
		{"other", "", false},
		{"mode", "", false},
		{"models", "", false},
	}
	for _, test := range tests {
		got, ok := object.Get(test.name)
		if string(got) != test.want || ok != test.ok {
			t.Errorf("%q: %q, %v; want %q, %v", test.name, got, ok, test.want, test.ok)
		}
		if cap(got) != len(got) {
			t.Errorf("%q: appending to the value would overwrite the body", test.name)
		}
	}
}

// elements returns the elements of a member.
func elements(object jsonedit.Object, name string) (elements []string) {
	array := object.Elements(name)
	for i := range array.Len() {
		elements = append(elements, string(array.At(i)))
	}
	return elements
}

func TestElements(t *testing.T) {
	object := parse(t, `{"none":[],"blank":[ ],"one":[ {"a":[1,2]} ],"x":1,`+
		`"many":["," , "]",[ ],{ } ,1.5,null,"\"" ],"o":{"p":[1]}}`)
	tests := []struct {
		name string
		want []string
	}{
		{"none", nil},
		{"blank", nil},
		{"one", []string{`{"a":[1,2]}`}},
		{"many", []string{`","`, `"]"`, "[ ]", "{ }", "1.5", "null", `"\""`}},
		{"x", nil},
		{"o", nil},
		{"p", nil},
		{"Many", nil},
	}
	for _, test := range tests {
		if got := elements(object, test.name); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// Names are found and compared alike in objects of few and of many members.
func TestManyMembers(t *testing.T) {
	for _, n := range []int{1, 15, 16, 17, 18, 64, 65, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, `"Näme%d\n":[%d],`, i, i)
			}
			members := b.String()
			object := parse(t, "{"+strings.TrimSuffix(members, ",")+"}")
			for i := range n {
				name := fmt.Sprintf("Näme%d\n", i)
				if got, ok := object.Get(name); !ok || string(got) != fmt.Sprintf("[%d]", i) {
					t.Errorf("%q: %q, %v", name, got, ok)
				}
				if got := elements(object, name); len(got) != 1 || got[0] != fmt.Sprint(i) {
					t.Errorf("%q: elements %q", name, got)
				}
				if got, ok := object.Get(strings.ToUpper(name)); ok {
					t.Errorf("%q in upper case: %q", name, got)
				}
				if i%(n/10+1) != 0 {
					continue
				}
				_, err := jsonedit.Parse(fmt.Appendf(nil, `{%s"NÄME%d\u000a":0}`, members, i))
				if !errors.Is(err, jsonedit.ErrDuplicate) {
					t.Errorf("%q twice: %v", name, err)
				}
			}
			if got, ok := object.Get("other"); ok {
				t.Errorf("other: %q", got)
			}
		})
	}
}

// An object with very many members takes time in proportion to their number; by the square it would take minutes.
func TestVeryManyMembers(t *testing.T) {
	const n = 300_000
	for _, name := range []string{"%x", `\u0061%x`, "É%x"} {
		body := []byte(`{"model":"m"`)
		for i := range n {
			body = fmt.Appendf(body, `,"`+name+`":%d`, i, i)
		}
		body = append(body, '}')
		start := time.Now()
		object, err := jsonedit.Parse(body)
		if took := time.Since(start); err != nil || took > 20*time.Second {
			t.Errorf("%s: %v, took %v", name, err, took)
		}
		last := strings.NewReplacer(`\u0061`, "a", "%x", fmt.Sprintf("%x", n-1)).Replace(name)
		if got, ok := object.Get(last); !ok || string(got) != fmt.Sprint(n-1) {
			t.Errorf("%s is %s, %v", last, got, ok)
		}
	}
}
