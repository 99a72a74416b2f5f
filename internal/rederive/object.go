package rederive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object is a JSON object. A member counts as absent if it is missing or of another kind than asked for.
type object map[string]json.RawMessage

func asObject(raw []byte) object {
	var o object
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o
}

// asText returns a string, and whether raw is one. Bytes that are not UTF-8, and halves of surrogate pairs, become NUL,
// so that the text is seen not to be storable: encoding/json would hide them.
func asText(raw json.RawMessage) (string, bool) {
	if !bytes.HasPrefix(raw, []byte(`"`)) {
		return "", false
	}
	var text string
	err := json.Unmarshal(withoutHalves(bytes.ToValidUTF8(raw, []byte(`\u0000`))), &text)
	return text, err == nil
}

// withoutHalves replaces each surrogate in a JSON string that lacks its other half.
func withoutHalves(raw []byte) []byte {
	surrogate := func(at int, from, to uint64) bool {
		if at+6 > len(raw) || raw[at] != '\\' || raw[at+1] != 'u' {
			return false
		}
		unit, err := strconv.ParseUint(string(raw[at+2:at+6]), 16, 16)
		return err == nil && from <= unit && unit <= to
	}
	var out []byte
	for i := 0; i < len(raw); {
		n := 1
		switch {
		case surrogate(i, 0xd800, 0xdbff) && surrogate(i+6, 0xdc00, 0xdfff):
			n = 12
		case surrogate(i, 0xd800, 0xdfff):
			out = append(out, `\u0000`...)
			i += 6
			continue
		case raw[i] == '\\':
			n = 2
		}
		n = min(n, len(raw)-i)
		out = append(out, raw[i:i+n]...)
		i += n
	}
	return out
}

func (o object) text(name string) string {
	text, _ := asText(o[name])
	return text
}

func (o object) object(name string) object { return asObject(o[name]) }

// present reports whether there is a member of that name, whatever its value.
func (o object) present(name string) bool {
	_, ok := o[name]
	return ok
}

// has reports whether there is a member of that name with a value other than null.
func (o object) has(name string) bool { return len(o[name]) > 0 && string(o[name]) != "null" }

func (o object) list(name string) []json.RawMessage {
	var list []json.RawMessage
	if json.Unmarshal(o[name], &list) != nil {
		return nil
	}
	return list
}

// objects returns the elements of a list; an element that is no object is nil.
func (o object) objects(name string) []object {
	var objects []object
	for _, raw := range o.list(name) {
		objects = append(objects, asObject(raw))
	}
	return objects
}

// count returns a whole number from 0, in any spelling. It ignores any other number.
func (o object) count(name string) (int64, bool) {
	raw := string(o[name])
	if n, err := strconv.ParseInt(raw, 10, 64); err == nil {
		return max(n, 0), n >= 0
	}
	n, err := strconv.ParseFloat(raw, 64) // ParseFloat accepts more than JSON does, but raw is JSON.
	if err != nil || n < 0 || n > 1<<53 || n != float64(int64(n)) {
		return 0, false
	}
	return int64(n), true
}

// figure returns a count, which some servers write as a string.
func (o object) figure(name string) (int64, bool) {
	text, ok := asText(o[name])
	if !ok {
		return o.count(name)
	}
	if !json.Valid([]byte(text)) || strings.Trim(text[:1]+text[len(text)-1:], "0123456789") != "" {
		return 0, false
	}
	return object{name: json.RawMessage(text)}.count(name)
}

// readRequest reads the object of a request, or says why there is none.
func readRequest(body []byte, insteadOfModel []string) (object, error) {
	var fields object
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	if err := uniqueNames(body); err != nil {
		return nil, err
	}
	if fields.text("model") != "" {
		return fields, nil
	}
	for _, name := range insteadOfModel {
		if fields.has(name) && !fields.has("model") {
			return fields, nil
		}
	}
	return nil, errors.New("it names no model")
}

// uniqueNames fails if an object has two members with the same name in any case: readers differ in which one they take.
func uniqueNames(body []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if _, err := decoder.Token(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		folded := strings.ToLower(fmt.Sprint(name))
		if seen[folded] {
			return fmt.Errorf("it has two fields %q", folded)
		}
		seen[folded] = true
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
	}
	return nil
}

// storable returns text without NUL and invalid UTF-8, so that it can be stored.
func storable(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
}

// sanitized returns metadata, with a flag if one of the texts cannot be stored unchanged.
func sanitized(metadata map[string]any, texts ...string) map[string]any {
	for _, text := range texts {
		if strings.Contains(text, "\x00") || !utf8.ValidString(text) {
			metadata["sanitized"] = true
		}
	}
	return metadata
}

// asInput returns a call's input as JSON: the model's bytes if they are JSON, otherwise a JSON string of them.
func asInput(written string) string {
	written = storable(written)
	if json.Valid([]byte(written)) {
		return written
	}
	quoted, err := json.Marshal(written)
	if err != nil {
		return ""
	}
	return string(quoted)
}
