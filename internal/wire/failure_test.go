package wire_test

import (
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

func TestReadFailure(t *testing.T) {
	tests := map[string]struct {
		kind, object string
		want         wire.Failure // Empty: none.
	}{
		"nested":            {"error", `{"error":{"type":"t","message":"m"}}`, wire.Failure{Type: "t", Message: "m"}},
		"type before code":  {"", `{"error":{"code":"c","type":"t"}}`, wire.Failure{Type: "t", Code: "c"}},
		"code":              {"", `{"error":{"code":"c","type":null}}`, wire.Failure{Type: "c"}},
		"code a number":     {"", `{"error":{"code":429}}`, wire.Failure{Type: "429"}},
		"message only":      {"", `{"error":{"message":"m"}}`, wire.Failure{Type: "error", Message: "m"}},
		"string":            {"", `{"error":"m"}`, wire.Failure{Type: "error", Message: "m"}},
		"flat":              {"error", `{"type":"error","code":"c"}`, wire.Failure{Type: "c"}},
		"flat without code": {"error", `{"code":null,"message":"m"}`, wire.Failure{Type: "error", Message: "m"}},
		"flat and null":     {"error", `{"error":null,"message":"m"}`, wire.Failure{Type: "error", Message: "m"}},
		"says nothing":      {"error", `{}`, wire.Failure{Type: "error"}},
		"nested nothing":    {"error", `{"error":{}}`, wire.Failure{Type: "error"}},
		"null":              {"response", `{"error":null}`, wire.Failure{}},
		"empty object":      {"", `{"error":{}}`, wire.Failure{}},
		"empty string":      {"", `{"error":""}`, wire.Failure{}},
		"empty members":     {"", `{"error":{"type":"","message":""}}`, wire.Failure{}},
		"false":             {"", `{"error":false}`, wire.Failure{}},
		"no error":          {"response", `{"message":"m","code":"c"}`, wire.Failure{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, failed := wire.ReadFailure(test.kind, gjson.Parse(test.object))
			if got != test.want || failed != (test.want != wire.Failure{}) {
				t.Errorf("got %+v, %v, want %+v", got, failed, test.want)
			}
		})
	}
}
