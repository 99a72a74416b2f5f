package jsonedit_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

func TestRemove(t *testing.T) {
	for _, test := range []struct {
		body  string
		names []string
		want  string
	}{
		{`{"a":1,"b":2,"c":3}`, []string{"a"}, `{"b":2,"c":3}`},
		{`{"a":1,"b":2,"c":3}`, []string{"b"}, `{"a":1,"c":3}`},
		{`{"a":1,"b":2,"c":3}`, []string{"c"}, `{"a":1,"b":2}`},
		{`{"a":1,"b":2,"c":3}`, []string{"b", "a"}, `{"c":3}`},
		{`{"a":1,"b":2,"c":3}`, []string{"a", "c"}, `{"b":2}`},
		{`{"a":1,"b":2,"c":3}`, []string{"c", "b"}, `{"a":1}`},
		{`{"a":1,"b":2,"c":3}`, []string{"a", "b", "c"}, `{}`},
		{"{ \"a\" : 1 ,\n \"b\" : [ 2 ] , \"c\":3 }", []string{"b"}, "{ \"a\" : 1 , \"c\":3 }"},
		{`{"a":1}`, []string{"A", "x"}, `{"a":1}`},
		{`{"\u0061":1,"b":2}`, []string{"a"}, `{"b":2}`},
		{`{}`, []string{"a"}, `{}`},
	} {
		object, err := jsonedit.Parse([]byte(test.body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := jsonedit.Splice([]byte(test.body), object.Remove(test.names...)...)
		if err != nil || string(got) != test.want {
			t.Errorf("%s without %q: %s, %v", test.body, test.names, got, err)
		}
	}
}

func TestEditsOfParts(t *testing.T) {
	body := []byte(` {"model":"m", "tools": [ {"name":"a","strict":true} ,{"strict":false,"cache":{"ttl":"1h","type":"x"}}]}`)
	object, err := jsonedit.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	edits := append(object.Remove("model"), object.Set("new", []byte("1")))
	tools := object.Elements("tools")
	for i := range tools.Len() {
		tool, err := jsonedit.Parse(tools.At(i))
		if err != nil {
			t.Fatal(err)
		}
		of := tool.Remove("strict")
		if cache, ok := tool.Get("cache"); ok {
			inner, err := jsonedit.Parse(cache)
			if err != nil {
				t.Fatal(err)
			}
			of = append(of, jsonedit.Moved(inner.Remove("ttl"), tool.Start("cache"))...)
		}
		edits = append(edits, jsonedit.Moved(of, tools.Start(i))...)
	}
	if object.Start("none") != -1 {
		t.Error("a member that is not there has a start")
	}
	const want = ` {"tools": [ {"name":"a"} ,{"cache":{"type":"x"}}],"new":1}`
	if got, err := jsonedit.Splice(body, edits...); err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

// FuzzRemove checks that an object without one of its members is what encoding/json says it is.
func FuzzRemove(f *testing.F) {
	f.Add([]byte(`{"a":1, "b":{"c":[2]} ,"d":"x"}`), uint8(1))
	f.Fuzz(func(t *testing.T, body []byte, which uint8) {
		object, err := jsonedit.Parse(body)
		if err != nil {
			return
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(body, &members) != nil || len(members) == 0 {
			return
		}
		names := make([]string, 0, 2)
		for name := range members {
			if which%2 == 0 || len(names) == 0 {
				names = append(names, name)
			}
			which /= 2
		}
		without, err := jsonedit.Splice(body, object.Remove(names...)...)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]json.RawMessage{}
		if err := json.Unmarshal(without, &got); err != nil {
			t.Fatalf("%q without %q: %v", body, names, err)
		}
		for _, name := range names {
			if _, ok := object.Get(name); !ok {
				return // Of invalid UTF-8, which encoding/json reads in another way.
			}
			delete(members, name)
		}
		if len(got) != len(members) {
			t.Fatalf("%q without %q is %q", body, names, without)
		}
		for name, value := range members {
			if !bytes.Equal(got[name], value) {
				t.Fatalf("%q without %q is %q", body, names, without)
			}
		}
	})
}
