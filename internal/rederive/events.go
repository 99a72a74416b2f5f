package rederive

import "strings"

// event is one event of a stream: its name, and its lines of data, joined.
type event struct{ name, data string }

// events splits a stream as browsers do: lines end in LF, CRLF or CR, and a blank line ends an event. Where the stream
// has ended, a last event without a blank line is an event too; its reader sees whether its data is complete.
func events(stream []byte, ended bool) []event {
	text := strings.TrimPrefix(string(stream), "\uFEFF")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")

	var found []event
	var name string
	var data []string
	if ended {
		text += "\n\n"
	} else {
		text = text[:strings.LastIndex(text, "\n")+1] // The rest is not a whole line yet.
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if line == "" {
			found = append(found, eventsOf(name, data)...)
			name, data = "", nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			data = append(data, value)
		}
	}
	return found
}

// eventsOf returns the event that these lines of data make, none without data. Where a server writes no blank lines, each
// line is an event.
func eventsOf(name string, data []string) []event {
	whole := event{name, strings.Join(data, "\n")}
	if data == nil || len(data) == 1 || asObject([]byte(whole.data)) != nil {
		return []event{whole}[:min(len(data), 1)]
	}
	found := make([]event, 0, len(data))
	for _, line := range data {
		found = append(found, event{"", line})
	}
	return found
}

// object returns the object in an event's data, and its kind: the object's type, or else the event's name. Data that is
// not a whole object has no kind. That of a ping means nothing.
func (e event) object() (data object, kind string) {
	if e.name == "ping" {
		return nil, e.name
	}
	data = asObject([]byte(e.data))
	if data == nil {
		return nil, ""
	}
	kind, ok := asText(data["type"])
	if !ok {
		kind = e.name
	}
	return data, kind
}
