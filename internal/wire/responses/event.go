package responses

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// event is an event whose data has been read.
type event struct {
	object   jsonedit.Object
	kind     string
	response *jsonedit.Object // Its response object; nil: it has none.
	isBare   bool             // The event is the response object.
}

// readEvent reads the data of an event. It reports false if that is no JSON object.
func readEvent(from sse.Event) (event, bool) {
	if from.Opaque || len(bytes.TrimSpace(from.Data)) == 0 {
		return event{}, false
	}
	object, err := jsonedit.Parse(from.Data)
	if err != nil {
		return event{}, false
	}
	read := event{object: object, kind: memberText(object, "type")}
	if read.kind == "" {
		read.kind = string(from.Type)
	}
	if value, ok := object.Get("response"); ok {
		if response, err := jsonedit.Parse(value); err == nil {
			read.response = &response
		}
	} else if isResponse(object) {
		read.response, read.isBare = &object, true
	}
	return read, true
}

// isResponse reports whether an event is itself a response object. There are some that do not say so.
func isResponse(object jsonedit.Object) bool {
	if memberText(object, "object") == "response" {
		return true
	}
	kind := memberText(object, "type")
	output, _ := object.Get("output")
	return wire.IsArray(output) && wire.Has(object, "id") && (kindStatus(kind) != "" || !strings.HasPrefix(kind, "response."))
}

// statusOf returns the status of a response in an event of that kind. One that has none, and is no event, has ended.
func (j *joint) statusOf(kind string, response jsonedit.Object) string {
	status := cmp.Or(kindStatus(kind), memberText(response, "status"))
	if status == "" && j.form == wire.Body {
		return "completed"
	}
	return cmp.Or(status, "in_progress")
}

// kindStatus returns the status that a response has by an event of that kind, or "" if the kind says nothing of it.
func kindStatus(kind string) string {
	switch kind {
	case "response.created", "response.queued", "response.in_progress":
		return "in_progress"
	case "response.completed", "response.incomplete", "response.failed":
		return strings.TrimPrefix(kind, "response.")
	}
	return ""
}

func isUnderWay(status string) bool { return status == "in_progress" || status == "queued" }

// appendEvent returns the data of an event with a response object.
func appendEvent(kind string, number int64, response []byte) []byte {
	data := append([]byte(`{"type":"`+kind+`","sequence_number":`), strconv.FormatInt(number, 10)...)
	return append(append(append(data, `,"response":`...), response...), '}')
}

// write appends an event as the client is to see it.
func (j *joint) write(ready []byte, from sse.Event, event event) []byte {
	edits := j.numbering.edits(event.object)
	if event.response != nil {
		isEnd := !isUnderWay(j.statusOf(event.kind, *event.response))
		within, beside := j.responseEdits(*event.response, event.object, isEnd)
		switch {
		case event.isBare:
			edits = append(edits, within...)
		case len(within) > 0:
			edits = append(edits, event.object.Set("response", spliced(*event.response, within)))
		}
		edits = append(edits, beside...)
	}
	if len(edits) == 0 {
		return append(ready, from.Raw...)
	}
	return from.AppendWithData(ready, spliced(event.object, edits))
}

// usageMembers returns the members with usage, in a response object or beside it.
func usageMembers() [2]string { return [...]string{"usage", "tool_usage"} }

// sum returns the usage of all rounds, or nothing if none told any.
func (j *joint) sum(name string) []byte {
	if len(j.now.usage[name]) == 0 {
		return j.usage[name]
	}
	return wire.SumUsage(j.usage[name], j.now.usage[name])
}

// responseEdits returns the edits that make a response object that of all rounds, and those of the event around it.
func (j *joint) responseEdits(response, around jsonedit.Object, isEnd bool) (within, beside []jsonedit.Edit) {
	within = j.withoutTools(response)
	output, isKnown := []byte(nil), false
	if isEnd && (len(j.before) > 0 || j.now.ours) {
		output, isKnown = j.output()
	}
	if isKnown {
		within = append(within, response.Set("output", output))
	} else {
		within = append(within, response.Remove("output", j.isOurCall)...)
	}
	if len(j.before) == 0 {
		return within, nil
	}
	for _, name := range firstMembers() {
		value, had := j.first.ids[name]
		if _, has := response.Get(name); !had && has && name == "previous_response_id" {
			value, had = []byte("null"), true
		}
		if had {
			within = append(within, response.Set(name, value))
		}
	}
	for _, name := range usageMembers() {
		sum := j.sum(name)
		switch {
		case len(sum) == 0 || !isEnd:
		case !wire.Has(response, name) && wire.Has(around, name):
			beside = append(beside, around.Set(name, sum))
		default:
			within = append(within, response.Set(name, sum))
		}
	}
	return within, beside
}

// withoutTools returns the edits that take the gateway's tools out of those that a response object repeats.
func (j *joint) withoutTools(response jsonedit.Object) []jsonedit.Edit {
	return response.Remove("tools", func(tool []byte) bool {
		value := wire.View(tool)
		return value.Get("type").Str == "function" && j.of.IsOurs(wire.String(value.Get("name")))
	})
}

// output returns the items that the client has seen, of all rounds, as an array. It reports false if they are not known.
func (j *joint) output() ([]byte, bool) {
	var shown [][]byte
	for _, round := range j.rounds() {
		if round.items.Err() != nil && round.output == nil {
			return nil, false
		}
		for _, item := range round.list() {
			if !item.ours {
				shown = append(shown, item.raw)
			}
		}
	}
	return array(shown), true
}

// spliced returns an object with edits made, which are of different members. An empty one, to which several cannot be added,
// stays as it is.
func spliced(object jsonedit.Object, edits []jsonedit.Edit) []byte {
	data, err := jsonedit.Splice(object.Bytes(), edits...)
	if err != nil {
		return object.Bytes()
	}
	return data
}
