package jsonedit_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

func splice(t *testing.T, body string, edits ...jsonedit.Edit) string {
	t.Helper()
	before := body
	in := []byte(body)
	out, err := jsonedit.Splice(in, edits...)
	if err != nil {
		t.Fatal(err)
	}
	if string(in) != before {
		t.Fatalf("the body was changed to %s", in)
	}
	return string(out)
}

func TestSet(t *testing.T) {
	tests := []struct {
		name, body, member, value, want string
	}{
		{"first", `{"a":1,"b":2}`, "a", "true", `{"a":true,"b":2}`},
		{"last", `{"a":1,"b":2}`, "b", `"x"`, `{"a":1,"b":"x"}`},
		{"white space stays", "{ \"a\" : 1 ,\n\t\"b\":\t2 }\n", "a", "[]", "{ \"a\" : [] ,\n\t\"b\":\t2 }\n"},
		{"array", `{"a":[1,[2]],"b":2}`, "a", "0", `{"a":0,"b":2}`},
		{"object", `{"a":{"a":1},"b":2}`, "a", "0", `{"a":0,"b":2}`},
		{"escaped name", `{"\u0061":1}`, "a", "2", `{"\u0061":2}`},
		{"new", `{"a":1}`, "b", "2", `{"a":1,"b":2}`},
		{"new, white space", "{\n  \"a\": 1\n}\n", "b", "2", "{\n  \"a\": 1,\"b\":2\n}\n"},
		{"new, odd name", `{"a":1}`, "\"é\n\\", "2", `{"a":1,"\"é\n\\":2}`},
		{"new, empty object", `{}`, "a", "1", `{"a":1}`},
		{"new, blank object", " { \n } ", "a", "1", " {\"a\":1 \n } "},
		{"nested name is another", `{"a":{"b":1}}`, "b", "2", `{"a":{"b":1},"b":2}`},
		{"other case", `{"x":0,"Stream" : false ,"y":1}`, "stream", "true", `{"x":0,"stream":true ,"y":1}`},
		{"fault 32: numbers", `{"a":1e400,"b":12345678901234567890,"c":0}`, "c", "1", `{"a":1e400,"b":12345678901234567890,"c":1}`},
		{"fault 32: number as value", `{"a":0}`, "a", "-1E+400", `{"a":-1E+400}`},
		{"fault 30: other bytes stay", "{\"a\":\"\xff\\ud800\",\"b\":1}", "b", "2", "{\"a\":\"\xff\\ud800\",\"b\":2}"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := splice(t, test.body, parse(t, test.body).Set(test.member, []byte(test.value)))
			if got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
			if value, ok := parse(t, got).Get(test.member); !ok || string(value) != test.value {
				t.Errorf("%s is %s, %v", test.member, value, ok)
			}
		})
	}
}

func TestSetSeveral(t *testing.T) {
	const body = `{"a":1,"b":2}`
	object := parse(t, body)
	got := splice(t, body, object.Set("x", []byte("9")), object.Set("b", []byte("8")), object.Set("a", []byte("7")),
		object.Set("y", []byte("6")))
	if want := `{"a":7,"b":8,"x":9,"y":6}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSetWithin(t *testing.T) {
	const body = `{"a":1,"o": { "p":1.0 , "q":2 } ,"b":2}`
	object := parse(t, body)
	value, _ := object.Get("o")
	inner := parse(t, string(value))
	changed := splice(t, string(value), inner.Set("p", []byte("true")), inner.Set("r", []byte("3")))
	got := splice(t, body, object.Set("o", []byte(changed)))
	if want := `{"a":1,"o": { "p":true , "q":2,"r":3 } ,"b":2}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSplice(t *testing.T) {
	const body = "0123456789"
	edit := func(start, end int, text string) jsonedit.Edit {
		return jsonedit.Edit{Start: start, End: end, New: []byte(text)}
	}
	tests := []struct {
		name  string
		edits []jsonedit.Edit
		want  string
	}{
		{"replace", []jsonedit.Edit{edit(2, 4, "ab")}, "01ab456789"},
		{"shorter", []jsonedit.Edit{edit(2, 4, "")}, "01456789"},
		{"longer", []jsonedit.Edit{edit(2, 4, "abc")}, "01abc456789"},
		{"insert", []jsonedit.Edit{edit(2, 2, "ab")}, "01ab23456789"},
		{"at the ends", []jsonedit.Edit{edit(10, 10, "b"), edit(0, 0, "a")}, "a0123456789b"},
		{"all", []jsonedit.Edit{edit(0, 10, "")}, ""},
		{"any order", []jsonedit.Edit{edit(8, 9, "c"), edit(0, 1, "a"), edit(4, 5, "b")}, "a123b567c9"},
		{"side by side", []jsonedit.Edit{edit(4, 6, "b"), edit(2, 4, "a")}, "01ab6789"},
		{"same place", []jsonedit.Edit{edit(2, 2, "a"), edit(2, 2, "b")}, "01ab23456789"},
		{"insert before what is replaced", []jsonedit.Edit{edit(2, 4, "b"), edit(2, 2, "a")}, "01ab456789"},
		{"insert behind what is replaced", []jsonedit.Edit{edit(4, 4, "b"), edit(2, 4, "a")}, "01ab456789"},
		{"nothing new", []jsonedit.Edit{edit(3, 3, "")}, body},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			first := test.edits[0].Start
			if got := splice(t, body, test.edits...); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if test.edits[0].Start != first {
				t.Error("the edits were sorted")
			}
		})
	}
}

func TestSpliceNothing(t *testing.T) {
	body := []byte("{}")
	if got, err := jsonedit.Splice(body); err != nil || &got[0] != &body[0] || len(got) != len(body) {
		t.Errorf("%s, %v; want the body itself", got, err)
	}
}

func TestSpliceRefuses(t *testing.T) {
	tests := []struct {
		name  string
		edits []jsonedit.Edit
	}{
		{"overlap", []jsonedit.Edit{{Start: 2, End: 5}, {Start: 4, End: 6}}},
		{"within", []jsonedit.Edit{{Start: 4, End: 5}, {Start: 2, End: 8}}},
		{"twice", []jsonedit.Edit{{Start: 2, End: 5}, {Start: 2, End: 5}}},
		{"insert within", []jsonedit.Edit{{Start: 3, End: 3}, {Start: 2, End: 5}}},
		{"before the body", []jsonedit.Edit{{Start: -1, End: 2}}},
		{"behind the body", []jsonedit.Edit{{Start: 9, End: 11}}},
		{"backwards", []jsonedit.Edit{{Start: 5, End: 4}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			body := []byte("0123456789")
			if got, err := jsonedit.Splice(body, test.edits...); err == nil || got != nil {
				t.Errorf("%s, %v; want an error", got, err)
			}
			if !bytes.Equal(body, []byte("0123456789")) {
				t.Errorf("the body was changed to %s", body)
			}
		})
	}
}

// TestAfter has edits of a member, and others.
func TestAfter(t *testing.T) {
	for body, want := range map[string]string{`{"a":1,"b":2}`: "3 true", `{"A":1,"b":2}`: "3 true", `{"b":2}`: "3 true", `{}`: "3 true"} {
		object, err := jsonedit.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		before, had := object.Get("a")
		for i, edits := range [][]jsonedit.Edit{{object.Set("a", []byte("3"))}, {object.Set("b", []byte("4")), object.Set("a", []byte("3"))}} {
			if value, ok := object.After("a", edits); fmt.Sprintf("%s %v", value, ok) != want {
				t.Errorf("%s, %d: %s %v", body, i, value, ok)
			}
		}
		if value, ok := object.After("a", []jsonedit.Edit{object.Set("b", []byte("4"))}); string(value) != string(before) || ok != had {
			t.Errorf("%s: %s %v without an edit", body, value, ok)
		}
	}
}
