package mcp

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

func TestObjectSchema(t *testing.T) {
	const empty = `{"type":"object","properties":{}}`
	for name, test := range map[string]struct{ schema, want string }{ // No want: the schema is refused.
		"none":              {``, empty},
		"null":              {`null`, empty},
		"an empty object":   {`{}`, empty},
		"with white space":  {"{ \n}", "{\"type\":\"object\",\"properties\":{} \n}"},
		"whole":             {`{"type":"object","properties":{"a":{"type":"string"}}}`, `{"type":"object","properties":{"a":{"type":"string"}}}`},
		"no properties":     {`{"type":"object"}`, `{"properties":{},"type":"object"}`},
		"no type":           {`{"properties":{"a":true}}`, `{"type":"object","properties":{"a":true}}`},
		"neither":           {` { "$defs" : {"a":1e3} , "additionalProperties":false}`, ` {"type":"object","properties":{}, "$defs" : {"a":1e3} , "additionalProperties":false}`},
		"all is kept":       {`{"anyOf":[{"required":["a"]}],"$defs":{"a":{"const":12345678901234567890}},"x":[1.50,-0,1E+2],"\u0061":"\u003c<&>"}`, `{"type":"object","properties":{},"anyOf":[{"required":["a"]}],"$defs":{"a":{"const":12345678901234567890}},"x":[1.50,-0,1E+2],"\u0061":"\u003c<&>"}`},
		"several types":     {`{"type":["null","object"],"properties":{}}`, `{"type":"object","properties":{}}`},
		"properties null":   {`{"type":"object","properties":null}`, empty},
		"properties a list": {`{"type":"object","properties":[]}`, empty},
		"escaped names":     {`{"\u0074ype":"object","properties":{}}`, `{"\u0074ype":"object","properties":{}}`},

		"another type":         {`{"type":"string"}`, ""},
		"other types":          {`{"type":["string","null"]}`, ""},
		"type is null":         {`{"type":null}`, ""},
		"properties full":      {`{"type":"object","properties":["a"]}`, ""},
		"properties a text":    {`{"type":"object","properties":"a"}`, ""},
		"two types":            {`{"type":"object","type":"string"}`, ""},
		"two types in writing": {`{"type":"object","Type":"string"}`, ""},
		"a type in other case": {`{"TYPE":"object"}`, ""},
		"true":                 {`true`, ""},
		"a list":               {`[]`, ""},
		"a text":               {`"object"`, ""},
		"no JSON":              {`{"type":"object"`, ""},
		"deep":                 {`{"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := asObjectSchema(json.RawMessage(test.schema))
			if (err == nil) != (test.want != "") || err == nil && string(got) != test.want {
				t.Errorf("schema %.300s, error %v, want %s", got, err, test.want)
			}
		})
	}
}

// FuzzObjectSchema checks that a schema which is taken is one of an object with properties, that it is taken as it is the
// next time, and that all its other members are byte for byte what they were.
func FuzzObjectSchema(f *testing.F) {
	for _, schema := range []string{`{}`, `{"type":["object"],"properties":[],"a":1}`, ` { "b" : "\u0061" } `, `{"properties":{"a":{}}}`, `{"type":"object"}`} {
		f.Add([]byte(schema))
	}
	f.Fuzz(func(t *testing.T, schema []byte) {
		got, err := asObjectSchema(schema)
		if err != nil {
			return
		}
		again, err := asObjectSchema(got)
		if err != nil || string(again) != string(got) {
			t.Fatalf("%q becomes %q, and then %q, %v", schema, got, again, err)
		}
		object, err := jsonedit.Parse(got)
		if err != nil {
			t.Fatal(err)
		}
		kind, _ := object.Get("type")
		properties, _ := object.Get("properties")
		if text, _ := jsonedit.String(kind); text != "object" || properties[0] != '{' {
			t.Fatalf("%q becomes %q", schema, got)
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(schema, &members) != nil {
			return
		}
		for name, value := range members {
			now, ok := object.Get(name)
			if name != "type" && name != "properties" && (!ok || string(now) != string(value)) {
				t.Errorf("%q becomes %q", schema, got)
			}
		}
	})
}
