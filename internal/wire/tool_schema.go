package wire

import (
	"bytes"

	"github.com/coder/aibridged/internal/jsonedit"
)

// ToolSchema returns a tool's schema as providers take it. They refuse a whole request for one schema that has alternatives at
// its root: those members are left out there, and the tool's server judges the input. It has properties. What is left stays as
// it came. ToolSchema returns nil for a schema that is none of an object.
func ToolSchema(schema []byte) []byte {
	if schema = bytes.TrimSpace(schema); len(schema) == 0 {
		return []byte(`{"type":"object","properties":{}}`)
	}
	object, err := jsonedit.Parse(schema)
	if err != nil {
		return nil
	}
	if schema, err = jsonedit.Splice(schema, object.Without("anyOf", "oneOf", "allOf", "enum", "const", "not")...); err != nil {
		return nil
	}
	if kind, ok := object.Get("type"); ok && string(kind) != `"object"` {
		return nil
	}
	for _, missing := range [...]struct{ name, value string }{{"type", `"object"`}, {"properties", `{}`}} {
		if object, err = jsonedit.Parse(schema); err != nil {
			return nil
		}
		if !Has(object, missing.name) {
			if schema, err = jsonedit.Splice(schema, object.Set(missing.name, []byte(missing.value))); err != nil {
				return nil
			}
		}
	}
	return schema
}
