package jsonedit_test

import (
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

func TestEditsOfParts(t *testing.T) {
	body := []byte(` {"model":"m", "tools": [ {"name":"a","strict":true} ,{"strict":false,"cache":{"ttl":"1h","type":"x"}}]}`)
	object, err := jsonedit.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	edits := append(object.Without("model"), object.Set("new", []byte("1")))
	tools := object.Elements("tools")
	for i := range tools.Len() {
		tool, err := jsonedit.Parse(tools.At(i))
		if err != nil {
			t.Fatal(err)
		}
		of := tool.Without("strict")
		if cache, ok := tool.Get("cache"); ok {
			inner, err := jsonedit.Parse(cache)
			if err != nil {
				t.Fatal(err)
			}
			of = append(of, jsonedit.Moved(inner.Without("ttl"), tool.Start("cache"))...)
		}
		start, _ := tools.Place(i)
		edits = append(edits, jsonedit.Moved(of, start)...)
	}
	if object.Start("none") != -1 {
		t.Error("a member that is not there has a start")
	}
	const want = ` {"tools": [ {"name":"a"} ,{"cache":{"type":"x"}}],"new":1}`
	if got, err := jsonedit.Splice(body, edits...); err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}
