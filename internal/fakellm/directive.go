package fakellm

import (
	"encoding/json"
	"strings"
)

const blanks = " \t\r\n"

// directive is one [[name: argument]].
type directive struct {
	name     string
	argument string // Trimmed. For a tool: its name alone.
	input    string // Of a tool.
}

// isDirective reports whether name is that of a directive, and not other text in brackets.
func isDirective(name string) bool {
	switch name {
	case "text", "text-after", "think", "tool", "usage", "then", "error", "error-event", "delay", "silence", "cut", "no-done", "max-tokens":
		return true
	}
	return false
}

// directives returns the directives in text, and the text without them.
func directives(text string) (found []directive, plain string, err error) {
	var rest strings.Builder
	for {
		start := strings.Index(text, "[[")
		if start < 0 {
			rest.WriteString(text)
			return found, rest.String(), nil
		}
		rest.WriteString(text[:start])
		d, length, err := readDirective(text[start:])
		if err != nil {
			return nil, "", err
		}
		if length == 0 {
			rest.WriteByte('[')
			length = 1
		} else {
			found = append(found, d)
		}
		text = text[start+length:]
	}
}

// readDirective reads the directive at the beginning of text. A length of 0 means that there is none.
func readDirective(text string) (d directive, length int, err error) {
	inside := text[len("[["):]
	d.name = inside[:len(inside)-len(strings.TrimLeft(inside, "abcdefghijklmnopqrstuvwxyz-"))]
	after, hasArgument := strings.CutPrefix(inside[len(d.name):], ":")
	if !isDirective(d.name) || !hasArgument && !strings.HasPrefix(after, "]]") {
		return directive{}, 0, nil
	}
	if d.name == "tool" {
		d.argument, d.input, after, err = readTool(after)
		if err != nil {
			return directive{}, 0, err
		}
	}
	argument, after, closed := strings.Cut(after, "]]")
	switch {
	case !closed:
		return directive{}, 0, badRequest("[[%s has no ]]", d.name)
	case d.name != "tool":
		d.argument = strings.TrimSpace(argument)
	case d.input == "":
		d.input = strings.TrimSpace(argument)
	case strings.TrimSpace(argument) != "":
		return directive{}, 0, badRequest("[[tool: %s]] has something after its input", d.argument)
	}
	return d, len(text) - len(after), nil
}

// readTool reads a tool's name, and its input if that is a JSON object: brackets within the object do not end the
// directive.
func readTool(text string) (name, input, after string, err error) {
	text = strings.TrimLeft(text, blanks)
	end := strings.IndexAny(text, blanks+"]")
	if end <= 0 {
		return "", "", "", badRequest("[[tool]] needs the name of a tool")
	}
	name, after = text[:end], strings.TrimLeft(text[end:], blanks)
	if !strings.HasPrefix(after, "{") {
		return name, "", after, nil
	}
	decoder := json.NewDecoder(strings.NewReader(after))
	var object json.RawMessage
	if err := decoder.Decode(&object); err != nil {
		return "", "", "", badRequest("[[tool: %s]] has an input that is no JSON object: %v", name, err)
	}
	return name, string(object), after[decoder.InputOffset():], nil
}
