package responses

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// joint implements [wire.Joint].
type joint struct {
	of        wire.Joined
	form      wire.Form
	before    []*round // The rounds that have been continued.
	now       *round
	first     first
	usage     map[string][]byte // Of the rounds before, summed.
	numbering numbering
	isShown   bool   // The answer shows a stored response: see Shown.
	last      string // The id of that.

	isChained    bool // The request goes on with what the provider has stored.
	conversation string
	place        wire.Place // Of the answer.
}

// first is the first answer's response object, by which the client knows the answer.
type first struct {
	ids    map[string][]byte // Its members of firstMembers, as they are written.
	object []byte            // As it was when it began; empty: there was none, or no memory for it.
}

// firstMembers returns the members of a response object that the client gets from the first answer.
func firstMembers() [3]string { return [...]string{"id", "created_at", "previous_response_id"} }

func newJoint(of wire.Joined) wire.Joint {
	return &joint{
		of: of, now: newRound(of), numbering: newNumbering(), usage: map[string][]byte{},
		isChained: len(chain(of.Body)) > 0, conversation: conversationOf(of.Body), place: nextPlace(of.Body),
	}
}

// rounds returns all rounds.
func (j *joint) rounds() []*round { return append(slices.Clone(j.before), j.now) }

func (j *joint) Begin(form wire.Form) {
	j.form = form
	j.now = newRound(j.of)
}

func (j *joint) Pass(ready []byte, event sse.Event) []byte {
	switch {
	case j.form == wire.Body:
		j.holdBody(event.Data)
		return ready
	case len(j.now.held) > 0:
		if read, ok := readEvent(event); !ok || j.note(read) != hidden {
			j.hold(event)
		}
		return ready
	case !j.numbering.rewrites && goesOn(event):
		j.numbering.passed(event.Data)
		return append(ready, event.Raw...)
	}
	read, ok := readEvent(event)
	if !ok {
		if j.now.ours && wire.IsDone(event) {
			j.hold(event)
			return ready
		}
		return append(ready, event.Raw...)
	}
	switch j.note(read) {
	case hidden:
		j.numbering.hide()
		return ready
	case held:
		j.hold(event)
		return ready
	default:
		return j.write(ready, event, read)
	}
}

// holdBody notes an answer that is no stream. One that the client gets as it came need not be kept.
func (j *joint) holdBody(data []byte) {
	body, err := jsonedit.Parse(data)
	isOwn := err != nil || len(j.withoutTools(body))+len(body.Remove("output", j.isOurCall)) == 0
	if !isOwn || len(j.before) > 0 {
		j.now.body = j.keep(data)
		body, err = jsonedit.Parse(j.now.body)
	}
	if err == nil {
		j.noteResponse("", body, body)
		j.now.own = clientCalls(readItems(body.Elements("output"), j.of))
	}
}

// goesOn reports whether an event is of a kind that goes on as it came while nothing is hidden: nearly all events are. Of one
// in OpenAI's own spelling it looks only at the first bytes. An event of a kind that is not known may have anything.
func goesOn(event sse.Event) bool {
	if rest, ok := bytes.CutPrefix(event.Data, []byte(`{"type":"`)); ok {
		if end := bytes.IndexByte(rest[:min(len(rest), 64)], '"'); end > 0 {
			return isHarmless(rest[:end])
		}
	}
	return isHarmless([]byte(wire.String(wire.View(event.Data).Get("type"))))
}

// isHarmless reports whether events of that kind have neither a response nor an item, nor the name of a tool.
func isHarmless(kind []byte) bool {
	_, isPiece := itemEvents[string(kind)]
	return isPiece && string(kind) != "response.function_call_arguments.done" || saysNothing(string(kind))
}

// fate is what happens to an event.
type fate int

const (
	passed fate = iota
	hidden
	held // Until the end of the answer.
)

// note notes what an event says, and returns its fate.
func (j *joint) note(event event) fate {
	switch {
	case event.response != nil:
		return j.noteResponse(event.kind, *event.response, event.object)
	case kindStatus(event.kind) != "":
		return j.noteResponse(event.kind, jsonedit.Object{}, event.object)
	case event.kind == "response.output_item.added", event.kind == "response.output_item.done":
		return j.now.noteItem(event)
	case j.now.hides(event):
		return hidden
	}
	return passed
}

// noteResponse notes a response object, and what stands beside it. Those of later rounds that only say that an answer is
// under way are hidden.
func (j *joint) noteResponse(kind string, response, beside jsonedit.Object) fate {
	status := j.statusOf(kind, response)
	isEnd := !isUnderWay(status)
	if len(j.before) == 0 && j.first.ids == nil {
		j.noteFirst(response, isEnd)
	}
	j.now.noteResponse(response, beside)
	switch {
	case isEnd:
		j.now.status = strings.Clone(status)
		keep := j.keep
		if j.form == wire.Body {
			keep = func(data []byte) []byte { return data } // The body has been kept.
		}
		j.now.noteOutput(response, len(j.before) > 0, keep)
		if j.now.ours {
			j.numbering.hide()
			return held
		}
	case len(j.before) > 0 && !j.isShown:
		return hidden
	}
	return passed
}

// noteFirst keeps the first response object.
func (j *joint) noteFirst(response jsonedit.Object, isEnd bool) {
	j.first.ids = map[string][]byte{}
	for _, name := range firstMembers() {
		if value, ok := response.Get(name); ok {
			j.first.ids[name] = bytes.Clone(value)
		}
	}
	if j.form == wire.Body || len(response.Bytes()) == 0 || j.of.Memory.Take(int64(len(response.Bytes()))) != nil {
		return
	}
	j.first.object = bytes.Clone(response.Bytes())
	if isEnd {
		begun := []jsonedit.Edit{response.Set("status", []byte(`"in_progress"`)), response.Set("output", []byte("[]"))}
		if _, ok := response.Get("usage"); ok {
			begun = append(begun, response.Set("usage", []byte("null")))
		}
		j.first.object = spliced(response, begun)
	}
}

// keep returns a copy of what the joint must keep, whether there is memory for it or not: it has been read, and is bounded.
// Without memory the answer is not continued.
func (j *joint) keep(data []byte) []byte {
	if j.of.Memory.Take(int64(len(data))) != nil {
		j.now.failed = wire.ErrTurnTooLarge
	}
	return bytes.Clone(data)
}

func (j *joint) hold(event sse.Event) {
	j.now.held = append(j.now.held, sse.Event{
		Raw: j.keep(event.Raw), Type: bytes.Clone(event.Type), Data: j.keep(event.Data), Opaque: event.Opaque,
	})
}

func (j *joint) Finish(ready []byte) []byte {
	if j.form == wire.Body {
		body, err := jsonedit.Parse(j.now.body)
		isAnswer := err == nil && (memberText(body, "object") == "response" && !j.isShown || wire.Has(body, "output"))
		switch {
		case isAnswer:
			edits, _ := j.responseEdits(body, jsonedit.Object{}, true)
			return append(ready, spliced(body, edits)...)
		case err == nil && j.isShown:
			return append(ready, spliced(body, j.besideEdits(body))...)
		}
		return ready // It is as it came, or no answer of the API.
	}
	for _, event := range j.now.held {
		read, ok := readEvent(event)
		if !ok {
			ready = append(ready, event.Raw...)
			continue
		}
		ready = j.write(ready, event, read)
	}
	j.now.held = nil
	return ready
}

func (j *joint) Fail(ready []byte, failure wire.Failure) []byte {
	problem := appendText([]byte(`{"code":`), cmp.Or(failure.Code, failure.Type, "server_error"))
	problem = append(appendText(append(problem, `,"message":`...), failure.Message), '}')
	return j.appendOwn(ready, "response.failed", func(response jsonedit.Object) []jsonedit.Edit {
		edits := []jsonedit.Edit{response.Set("status", []byte(`"failed"`)), response.Set("error", problem)}
		if output, ok := j.output(); ok {
			edits = append(edits, response.Set("output", output))
		}
		for _, name := range usageMembers() {
			if sum := j.sum(name); len(sum) > 0 {
				edits = append(edits, response.Set(name, sum))
			}
		}
		return edits
	})
}

// Ping implements [wire.Joint]. There are clients that only an event of the API keeps, and no comment.
func (j *joint) Ping(ready []byte) []byte {
	return j.appendOwn(ready, "response.in_progress", func(jsonedit.Object) []jsonedit.Edit { return nil })
}

// appendOwn appends an event of the gateway's own, with the first response object.
func (j *joint) appendOwn(ready []byte, kind string, more func(jsonedit.Object) []jsonedit.Edit) []byte {
	object := j.first.object
	if len(object) == 0 {
		id := j.first.ids["id"]
		if len(id) == 0 {
			id = []byte(`""`)
		}
		object = slices.Concat([]byte(`{"id":`), id, []byte(`,"object":"response","status":"in_progress","error":null,"output":[]}`))
	}
	response, err := jsonedit.Parse(object)
	if err != nil {
		return ready
	}
	data := appendEvent(kind, j.numbering.number(), spliced(response, append(j.withoutTools(response), more(response)...)))
	return append(append(append(append(ready, "event: "+kind+"\ndata: "...), data...), '\n'), '\n')
}
