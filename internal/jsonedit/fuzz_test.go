package jsonedit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coder/aibridged/internal/jsonedit"
)

// outline is what the standard library's decoder reads of a valid text.
type outline struct {
	object     bool
	depth      int
	names      []string // At the top level, in order.
	duplicates bool
}

func outlineOf(t *testing.T, body []byte) outline {
	t.Helper()
	var o outline
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	depth := 0
	isName := false // The next token at the top level is a member's name.
	for {
		token, err := decoder.Token()
		if err != nil {
			return o
		}
		switch {
		case token == json.Delim('{') || token == json.Delim('['):
			if depth == 0 {
				o.object = token == json.Delim('{')
			}
			depth++
			o.depth = max(o.depth, depth)
			if depth == 1 {
				isName = true
			}
			continue
		case token == json.Delim('}') || token == json.Delim(']'):
			depth--
		case depth == 1 && o.object && isName:
			name := token.(string)
			o.duplicates = o.duplicates || indexFold(o.names, name) >= 0
			o.names = append(o.names, name)
			isName = false
			continue
		}
		if depth == 1 {
			isName = true // A value of the top level has ended.
		}
	}
}

// indexFold returns the index of name in names, without regard to case, or -1.
func indexFold(names []string, name string) int {
	return slices.IndexFunc(names, func(other string) bool { return strings.EqualFold(other, name) })
}

// Parse agrees with encoding/json about what is JSON and what its members are; Set changes only the member it should.
func FuzzParse(f *testing.F) {
	for _, body := range []string{
		`{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}, [ ] ,1e400]}`,
		`{"a":1,"A":2}`, `{"\u0061":1,"a":"\ud83d\ude00\ud800"}`, "{\"k\":1,\"\u212a\":2}", "{\"a\xff\":{\"b\":[{}]}}",
		` { } `, `[1,{"a":2}]`, `{"a":-0.5E+10,"b":[],"c":[ ]}x`, `"a`, string(chatBody(2000)), strings.Repeat("[", 600),
	} {
		f.Add([]byte(body), "stream", "true")
		f.Add([]byte(body), "A", `{"x":[1]}`)
	}
	f.Fuzz(func(t *testing.T, body []byte, name, value string) {
		before := bytes.Clone(body)
		object, err := jsonedit.Parse(body)
		checkVerdict(t, body, err)
		if err != nil {
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatal(err)
		}
		names := outlineOf(t, body).names
		if len(names) != len(members) {
			t.Fatalf("%d names, %d members", len(names), len(members))
		}
		for _, name := range names {
			if got, ok := object.Get(name); !ok || !bytes.Equal(got, members[name]) {
				t.Fatalf("%q is %s, %v; want %s", name, got, ok, members[name])
			}
			checkElements(t, elements(object, name), members[name])
		}
		value = strings.TrimSpace(value)
		settable := json.Valid([]byte(value)) && jsonedit.CheckDepth([]byte("["+value+"]")) == nil
		if settable && utf8.ValidString(name) {
			checkSet(t, object, names, name, value)
		}
		if !bytes.Equal(body, before) {
			t.Fatal("the body was changed")
		}
	})
}

// checkVerdict checks that err is the right error for body.
func checkVerdict(t *testing.T, body []byte, err error) {
	t.Helper()
	if !json.Valid(body) {
		// Another error may have been found first.
		if err == nil || errors.Is(err, jsonedit.ErrNotObject) {
			t.Fatalf("%v for invalid JSON", err)
		}
		return
	}
	deep := jsonedit.CheckDepth(body)
	o := outlineOf(t, body)
	if (o.depth > jsonedit.MaxDepth) != (deep != nil) {
		t.Fatalf("%v for a depth of %d", deep, o.depth)
	}
	switch {
	case errors.Is(err, jsonedit.ErrDuplicate):
		if !o.duplicates {
			t.Fatalf("%v: %q", err, o.names)
		}
	case deep != nil:
		if !errors.Is(err, jsonedit.ErrDepth) {
			t.Fatalf("%v for a depth of %d", err, o.depth)
		}
	case o.duplicates:
		t.Fatalf("%v for names %q", err, o.names)
	case !o.object:
		if !errors.Is(err, jsonedit.ErrNotObject) {
			t.Fatalf("%v for no object", err)
		}
	case err != nil:
		t.Fatalf("%v for a valid object", err)
	}
}

func checkElements(t *testing.T, got []string, member json.RawMessage) {
	t.Helper()
	if member[0] != '[' {
		if got != nil {
			t.Fatalf("elements %q of %s", got, member)
		}
		return
	}
	var want []json.RawMessage
	if err := json.Unmarshal(member, &want); err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(got, want, func(a string, b json.RawMessage) bool { return a == string(b) }) {
		t.Fatalf("elements %q of %s", got, member)
	}
}

// checkSet sets a member, and checks its value and that no byte outside the edit has moved.
func checkSet(t *testing.T, object jsonedit.Object, names []string, name, value string) {
	t.Helper()
	edit := object.Set(name, []byte(value))
	body := object.Bytes()
	edited, err := jsonedit.Splice(body, edit)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(edited, slices.Concat(body[:edit.Start], edit.New, body[edit.End:])) {
		t.Fatalf("%s is not %s with the edit", edited, body)
	}
	again, err := jsonedit.Parse(edited)
	if err != nil {
		t.Fatalf("%s: %v", edited, err)
	}
	if got, ok := again.Get(name); !ok || string(got) != value {
		t.Fatalf("%q is %s, %v; want %s", name, got, ok, value)
	}
	want := slices.Clone(names)
	if i := indexFold(want, name); i >= 0 {
		want[i] = name
	} else {
		want = append(want, name)
	}
	if got := outlineOf(t, edited).names; !slices.Equal(got, want) {
		t.Fatalf("members %q, want %q", got, want)
	}
	for _, other := range names {
		old, _ := object.Get(other)
		if got, _ := again.Get(other); !strings.EqualFold(other, name) && !bytes.Equal(got, old) {
			t.Fatalf("%q became %s", other, got)
		}
	}
}

// String agrees with encoding/json.
func FuzzString(f *testing.F) {
	for _, value := range []string{
		`"a"`, `"\ud83d\ude00"`, `"\ud83d\u0041"`, "\"\xff\xe2\x82\"", `"\"`, "\"\n\"", `1`, `"a"b"`,
	} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		got, ok := jsonedit.String(value)
		bare := len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"'
		if want := bare && json.Valid(value); ok != want {
			t.Fatalf("%q: %v, want %v", value, ok, want)
		}
		if !ok {
			return
		}
		var want string
		if err := json.Unmarshal(value, &want); err != nil || got != want {
			t.Fatalf("%q: %q, want %q, %v", value, got, want, err)
		}
	})
}
