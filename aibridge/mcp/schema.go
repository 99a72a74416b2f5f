package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/coder/aibridged/internal/jsonedit"
)

var errNotObject = errors.New("the input is not an object")

// asObjectSchema returns schema as the schema of an object with properties, which providers insist on. What is missing
// for that is added, or takes the place of what cannot be meant otherwise; all other bytes stay as they are. It fails on
// a schema of anything but an object, and on one that parsers may read in different ways.
func asObjectSchema(schema json.RawMessage) (json.RawMessage, error) {
	if len(schema) == 0 || bytes.Equal(schema, []byte("null")) {
		return json.RawMessage(`{"type":"object","properties":{}}`), nil
	}
	if err := jsonedit.CheckDepth(schema); err != nil {
		return nil, err
	}
	object, err := jsonedit.Parse(schema)
	if err != nil {
		return nil, err
	}
	var edits []jsonedit.Edit
	var missing []byte
	switch kind, ok := object.Get("type"); {
	case !ok:
		missing = append(missing, `"type":"object",`...)
	case !isObjectType(kind):
		return nil, errNotObject
	case kind[0] == '[':
		edits = append(edits, object.Set("type", []byte(`"object"`)))
	}
	switch properties, ok := object.Get("properties"); {
	case !ok:
		missing = append(missing, `"properties":{},`...)
	case properties[0] == '{':
	case bytes.Equal(properties, []byte("null")), object.Elements("properties").Len() == 0 && properties[0] == '[':
		edits = append(edits, object.Set("properties", []byte(`{}`))) // Some languages write an empty object as a list.
	default:
		return nil, errNotObject
	}
	if len(missing) > 0 {
		begin := bytes.IndexByte(schema, '{') + 1
		if next := bytes.TrimSpace(schema[begin:]); next[0] == '}' {
			missing = missing[:len(missing)-1] // No comma before the end.
		}
		edits = append(edits, jsonedit.Edit{Start: begin, End: begin, New: missing})
	}
	mended, err := jsonedit.Splice(schema, edits...)
	if err != nil {
		return nil, err
	}
	if _, err := jsonedit.Parse(mended); err != nil {
		return nil, err // There is a member whose name differs in case only from one that was added.
	}
	return slices.Clip(mended), nil
}

// isObjectType reports whether the value of a schema's type is "object", or a list with it.
func isObjectType(value []byte) bool {
	var one string
	if json.Unmarshal(value, &one) == nil {
		return one == "object"
	}
	var several []string
	return json.Unmarshal(value, &several) == nil && slices.Contains(several, "object")
}
