package jsonedit_test

import (
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

func TestInsert(t *testing.T) {
	for name, test := range map[string]struct {
		body     string
		elements string
		first    bool
		want     string
	}{
		"before the first":  {`{"a": [ 1, 2 ] }`, `7,8`, true, `{"a": [ 7,8,1, 2 ] }`},
		"behind the last":   {`{"a": [ 1, 2 ] }`, `7,8`, false, `{"a": [ 1, 2,7,8 ] }`},
		"into an empty one": {`{"a":[ ],"b":1}`, `7`, false, `{"a":[ 7],"b":1}`},
		"empty, first":      {`{"a":[],"b":1}`, `7`, true, `{"a":[7],"b":1}`},
		"no member":         {`{"b":1}`, `7`, true, `{"b":1,"a":[7]}`},
		"empty object":      {`{}`, `7`, false, `{"a":[7]}`},
		"null":              {`{"a":null}`, `7`, false, `{"a":[7]}`},
		"no array":          {`{"a":"x"}`, `7`, false, `{"a":"x"}`},
		"an object":         {`{"a":{"b":1}}`, `7`, false, `{"a":{"b":1}}`},
		"no elements":       {`{"a":[1]}`, ``, false, `{"a":[1]}`},
		"another case":      {`{"A":[1]}`, `7`, false, `{"a":[7]}`},
		"nested elements":   {`{"a":[[1],{"a":[2]} ]}`, `{"x":[]}`, false, `{"a":[[1],{"a":[2]},{"x":[]} ]}`},
	} {
		t.Run(name, func(t *testing.T) {
			object, err := jsonedit.Parse([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := jsonedit.Splice([]byte(test.body), object.Insert("a", []byte(test.elements), test.first)...)
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
		})
	}
}
