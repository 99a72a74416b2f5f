package wire

import (
	"cmp"
	"strings"

	"github.com/tidwall/gjson"
)

// ReadFailure returns the error in the object of an event of that kind, and whether there is one. The error is in the
// member error, an object or a string, or, in an event of the kind "error", in the object itself. A returned error is
// never empty. Some APIs have an error of null in every answer: that is none.
func ReadFailure(kind string, object gjson.Result) (Failure, bool) {
	detail := object.Get("error")
	if message := String(detail); message != "" {
		return Failure{Type: "error", Message: strings.Clone(message)}, true
	}
	failure := Failure{Type: word(detail.Get("type"))}
	if !detail.IsObject() && kind == "error" {
		detail = object // The type beside it is the event's, and says nothing about the error.
	}
	if code := word(detail.Get("code")); failure.Type == "" {
		failure.Type = code
	} else {
		failure.Code = code
	}
	failure.Message = strings.Clone(String(detail.Get("message")))
	if failure == (Failure{}) && kind != "error" {
		return Failure{}, false
	}
	failure.Type = cmp.Or(failure.Type, "error")
	return failure, true
}

// word returns a value that is a string or a number, as codes can be, or "".
func word(value gjson.Result) string {
	switch value.Type {
	case gjson.String:
		return strings.Clone(value.Str)
	case gjson.Number:
		return strings.Clone(value.Raw)
	}
	return ""
}
