package jsonedit_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

func TestRemove(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{
		"the last":        {`{"a": [ 1, 2, 7 ] }`, `{"a": [ 1, 2 ] }`},
		"the last ones":   {`{"a":[1, 7 , 7 ],"b":7}`, `{"a":[1 ],"b":7}`},
		"the first":       {`{"a":[ 7 , 1]}`, `{"a":[ 1]}`},
		"the first ones":  {`{"a":[7,7 , 1]}`, `{"a":[1]}`},
		"between":         {`{"a":[1 , 7 , 2]}`, `{"a":[1 , 2]}`},
		"here and there":  {`{"a":[7,1,7,7,2,7]}`, `{"a":[1,2]}`},
		"the only one":    {`{"a":[ 7 ]}`, `{"a":[  ]}`},
		"all":             {`{"a":[7,7]}`, `{"a":[]}`},
		"none":            {`{"a":[1,2]}`, `{"a":[1,2]}`},
		"empty":           {`{"a":[]}`, `{"a":[]}`},
		"no array":        {`{"a":7}`, `{"a":7}`},
		"no such member":  {`{"b":[7]}`, `{"b":[7]}`},
		"nested elements": {`{"a":[[7],7,{"a":[7]}]}`, `{"a":[[7],{"a":[7]}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			object := parse(t, test.body)
			gone := func(element []byte) bool { return string(element) == "7" }
			if got := splice(t, test.body, object.Remove("a", gone)...); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// What Insert puts into an array, Remove takes out again, and all bytes are as they were.
func FuzzRemove(f *testing.F) {
	f.Add([]byte(`{"a": [ 1, {"b":2} ] }`), true)
	f.Add([]byte(`{"a":[]}`), false)
	f.Fuzz(func(t *testing.T, body []byte, first bool) {
		object, err := jsonedit.Parse(body)
		if value, ok := object.Get("a"); err != nil || !ok || value[0] != '[' || bytes.Contains(body, []byte("777")) {
			return
		}
		more, err := jsonedit.Splice(body, object.Insert("a", []byte(`777,[777]`), first)...)
		if err != nil {
			t.Fatal(err)
		}
		object, err = jsonedit.Parse(more)
		if err != nil {
			t.Fatal(err)
		}
		gone := func(element []byte) bool { return bytes.Contains(element, []byte("777")) }
		back, err := jsonedit.Splice(more, object.Remove("a", gone)...)
		if err != nil || !bytes.Equal(back, body) {
			t.Fatalf("%s became %s, and then %s, %v", body, more, back, err)
		}
	})
}

func TestWithout(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{
		"the first":      {`{ "x" : 1 , "a":2}`, `{ "a":2}`},
		"the last":       {`{"a":2, "x":[1] }`, `{"a":2 }`},
		"both":           {`{"x":1,"a":{"x":1},"y":2}`, `{"a":{"x":1}}`},
		"side by side":   {`{"a":1,"y":1,"x":2,"b":1}`, `{"a":1,"b":1}`},
		"all":            {`{"x":1,"y":2}`, `{}`},
		"none":           {`{"a":1}`, `{"a":1}`},
		"empty":          {`{}`, `{}`},
		"another case":   {`{"X":1}`, `{"X":1}`},
		"written oddly":  {`{"a":1,"\u0078":1}`, `{"a":1}`},
		"many members":   {`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1,"x":1}`, `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1}`},
		"with no value":  {`{"x":null,"a":null}`, `{"a":null}`},
		"nested objects": {`{"a":{"x":1},"x":{"x":1}}`, `{"a":{"x":1}}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := splice(t, test.body, parse(t, test.body).Without("x", "y")...)
			if got != test.want || !json.Valid([]byte(got)) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
