package wire_test

import (
	"testing"

	"github.com/coder/aibridged/internal/wire"
)

func TestToolSchema(t *testing.T) {
	const nested = `{ "type": "object", "properties": {"a":{"anyOf":[{"$ref":"#/$defs/b"}],"not":{}}},"$defs":{"b":{"enum":[1e400]}},"additionalProperties":false}`
	for schema, want := range map[string]string{
		nested:                                nested,
		``:                                    `{"type":"object","properties":{}}`,
		`{}`:                                  `{"type":"object","properties":{}}`,
		`{"type":"object","properties":null}`: `{"type":"object","properties":{}}`,
		`{"anyOf":[{"required":["a"]}],"type":"object","properties":{}}`: `{"type":"object","properties":{}}`,
		`{"type":"object", "oneOf":[], "properties":{},"not":{}}`:        `{"type":"object", "properties":{}}`,
		`{"allOf":[],"enum":[],"const":1}`:                               `{"type":"object","properties":{}}`,
		`[]`:                                                             ``, `{"type":"string"}`: ``, `7`: ``, `{"type":`: ``,
	} {
		if got := string(wire.ToolSchema([]byte(schema))); got != want {
			t.Errorf("%s becomes %s, want %s", schema, got, want)
		}
	}
}
