package rederive

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Diff returns each difference to other as a line that names the field and both values, those of f first. None is no
// line. Error messages differ only where both have one: not every failure has words of the upstream's.
func (f Facts) Diff(other Facts) []string {
	var d differences
	d.value("Model", f.Model, other.Model)
	d.value("Client", f.Client, other.Client)
	d.value("ClientSessionID", f.ClientSessionID, other.ClientSessionID)
	d.value("CorrelatingToolCallID", f.CorrelatingToolCallID, other.CorrelatingToolCallID)
	d.list("Prompt", f.prompts(), other.prompts())
	d.list("TokenUsages", anyOf(f.TokenUsages), anyOf(other.TokenUsages))
	d.list("ToolUsages", anyOf(f.ToolUsages), anyOf(other.ToolUsages))
	d.list("Thoughts", anyOf(f.Thoughts), anyOf(other.Thoughts))
	d.value("ErrorType", f.ErrorType, other.ErrorType)
	if f.ErrorMessage != "" && other.ErrorMessage != "" {
		d.value("ErrorMessage", f.ErrorMessage, other.ErrorMessage)
	}
	return d
}

func (f Facts) prompts() []any {
	if f.Prompt == nil {
		return nil
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

type differences []string

func (d *differences) value(name string, one, other any) {
	if !reflect.DeepEqual(one, other) {
		*d = append(*d, fmt.Sprintf("%s: %#v, not %#v", name, one, other))
	}
}

// list compares lists of structs of one type, field by field.
func (d *differences) list(name string, one, other []any) {
	if len(one) != len(other) {
		*d = append(*d, fmt.Sprintf("%s: %d, not %d: %+v, not %+v", name, len(one), len(other), one, other))
		return
	}
	for i := range one {
		a, b := reflect.ValueOf(one[i]), reflect.ValueOf(other[i])
		for field := range a.NumField() {
			at := fmt.Sprintf("%s[%d].%s", name, i, a.Type().Field(field).Name)
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
	delete(names, "unread") // How many events the gateway did not understand is its own affair.
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d.value(at+"["+name+"]", one[name], other[name])
	}
}
