package rederive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Difference is a field in which two Facts about an exchange differ.
type Difference struct {
	Field      string // By its name in reports, for example token_usages[0].input_tokens.
	One, Other any    // Nil: the value does not exist.
}

// String returns the difference as a line.
func (d Difference) String() string {
	return fmt.Sprintf("%s: %s, not %s", d.Field, Shown(d.One), Shown(d.Other))
}

// Shown returns a value of a [Difference] as one line of JSON.
func Shown(value any) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Sprintf("%+v", value)
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// Diff returns the differences to other, with f's value as the first. Error messages differ only where both have one:
// some failures have no message of the upstream's.
func (f Facts) Diff(other Facts) []Difference {
	var d differences
	d.value("model", f.Model, other.Model)
	d.value("client", f.Client, other.Client)
	d.value("client_session_id", f.ClientSessionID, other.ClientSessionID)
	d.value("user_agent", f.UserAgent, other.UserAgent)
	d.value("correlating_tool_call_id", f.CorrelatingToolCallID, other.CorrelatingToolCallID)
	d.list("prompts", f.prompts(), other.prompts())
	d.list("token_usages", anyOf(f.TokenUsages), anyOf(other.TokenUsages))
	d.list("tool_usages", anyOf(f.ToolUsages), anyOf(other.ToolUsages))
	d.list("model_thoughts", anyOf(f.Thoughts), anyOf(other.Thoughts))
	d.value("error_type", f.ErrorType, other.ErrorType)
	if f.ErrorMessage != "" && other.ErrorMessage != "" {
		d.value("error_message", f.ErrorMessage, other.ErrorMessage)
	}
	return d
}

func (f Facts) prompts() []any {
	if f.Prompt == nil {
		return []any{}
	}
	return []any{*f.Prompt}
}

func anyOf[T any](list []T) []any {
	values := make([]any, len(list))
	for i, value := range list {
		values[i] = value
	}
	return values
}

type differences []Difference

func (d *differences) value(name string, one, other any) {
	if !reflect.DeepEqual(one, other) {
		*d = append(*d, Difference{name, one, other})
	}
}

// list compares lists of structs of one type, field by field.
func (d *differences) list(name string, one, other []any) {
	if len(one) != len(other) {
		*d = append(*d, Difference{name, one, other})
		return
	}
	for i := range one {
		a, b := reflect.ValueOf(one[i]), reflect.ValueOf(other[i])
		for field := range a.NumField() {
			at := fmt.Sprintf("%s[%d].%s", name, i, a.Type().Field(field).Tag.Get("json"))
			x, y := a.Field(field).Interface(), b.Field(field).Interface()
			if metadata, ok := x.(map[string]any); ok {
				d.metadata(at, metadata, y.(map[string]any))
				continue
			}
			d.value(at, x, y)
		}
	}
}

func (d *differences) metadata(at string, one, other map[string]any) {
	names := maps.Clone(one)
	if names == nil {
		names = map[string]any{}
	}
	maps.Copy(names, other)
	delete(names, "unread") // The gateway may count differently how many events it did not understand.
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d.value(at+"["+name+"]", one[name], other[name])
	}
}
