package messages

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// joint implements [wire.Joint].
type joint struct {
	of    wire.Joined
	form  wire.Form
	round int // How many rounds there were before this one.

	id    []byte     // The first answer's, as it is written.
	usage []byte     // The sum of the rounds before.
	said  *wire.Said // What the client has seen of them.
	next  int        // The index of the block that the client will see next.
	// secret is what only the provider can read of the last thought that has that, of all rounds.
	secret string
	turns  []byte // What the rounds before add to the conversation: messages with commas between.
	kept   wire.KeptTurn
	// container is the id of that in which the provider has run code, in quotes.
	container []byte
	shown     wire.TurnData // Answers that are no streams: the blocks that the client is to see.

	current turn
}

// turn is what is noted of the round under way.
type turn struct {
	data    wire.TurnData // Of the events that make the turn; of an answer that is no stream, the body.
	places  map[int64]int // The index by which the client knows a block, or hidden.
	ours    bool          // A tool of the gateway was called.
	calls   []clientCall  // Those of the client's tools.
	thought int64         // The index of the last thought, or -1.
	signed  bool          // The secret is of this thought.
	stop    string        // The stop_reason.
	usage   []byte
	held    []sse.Event // What ends the answer.
}

// clientCall is a call of one of the client's tools.
type clientCall struct{ id, name string }

// hidden is the place of a block that the client does not see.
const hidden = -1

func newJoint(of wire.Joined) wire.Joint {
	j := &joint{of: of, round: -1}
	j.current.data.Memory, j.shown.Memory = of.Memory, of.Memory
	return j
}

func (j *joint) Begin(form wire.Form) {
	j.form = form
	j.round++
	data := j.current.data
	data.Reset()
	j.current = turn{data: data, places: map[int64]int{}, thought: -1}
}

func (j *joint) Pass(ready []byte, event sse.Event) []byte {
	data := bytes.TrimSpace(event.Data)
	if j.form == wire.Body {
		j.readBody(data)
		return ready
	}
	if index, ok := usualDelta(data); ok {
		return j.passBlock(ready, event, index)
	}
	if len(data) == 0 || data[0] != '{' || !wire.IsSound(data) {
		return append(ready, event.Raw...)
	}
	var members members
	members.read(event, wire.View(data))
	switch members.kind {
	case "content_block_start":
		j.beginBlock(place(members.index), members.block)
		return j.passBlock(ready, event, place(members.index))
	case "content_block_delta", "content_block_stop":
		return j.passBlock(ready, event, place(members.index))
	case "message_start":
		j.readStart(members.message)
		if j.round > 0 {
			return ready
		}
	case "message_delta":
		j.readUsage(members.usage)
		j.readContainer(members.delta.Get("container"))
		if stop := members.delta.Get("stop_reason"); stop.Type == gjson.String {
			j.current.stop = wire.Kept(stop)
		}
		if j.current.ours {
			j.hold(event)
			return ready
		}
		return j.appendDelta(ready, event)
	case "message_stop":
		if j.current.ours {
			j.hold(event)
			return ready
		}
	case "message": // Some servers repeat the whole message before its end.
		if j.round > 0 || j.current.ours {
			return ready
		}
	}
	return append(ready, event.Raw...)
}

// usualDelta returns the index of a content_block_delta in Anthropic's own spelling. It looks only at the first bytes: a
// stream has thousands of them.
func usualDelta(data []byte) (index int64, ok bool) {
	rest, ok := bytes.CutPrefix(data, []byte(`{"type":"content_block_delta","index":`))
	end := bytes.IndexByte(rest[:min(len(rest), 20)], ',')
	if !ok || end < 0 {
		return 0, false
	}
	index, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	return index, err == nil
}

// beginBlock notes a block that begins.
func (j *joint) beginBlock(index int64, block gjson.Result) {
	if j.noteCall(block.Get("type").Str, wire.Kept(block.Get("id")), wire.Kept(block.Get("name"))) {
		j.current.places[index] = hidden
		return
	}
	if isThought(block.Get("type").Str) {
		j.current.thought, j.current.signed = index, false
		j.noteSecret(secretOf(block))
	}
	j.current.places[index] = j.next
	j.next++
}

// longestSecret is how many bytes of a thought's secret are kept: nothing is known that has so many.
const longestSecret = 1 << 20

// noteSecret notes a piece of what only the provider can read of a thought.
func (j *joint) noteSecret(piece string) {
	switch {
	case piece == "" || len(piece)+len(j.secret) > longestSecret:
	case j.current.signed:
		j.secret += piece
	default:
		j.secret, j.current.signed = strings.Clone(piece), true
	}
}

// noteCall notes a block that is a call of a tool of the gateway's or of the client's, and reports whether it is the gateway's.
func (j *joint) noteCall(kind, id, name string) (ours bool) {
	switch {
	case kind != "tool_use":
	case j.of.IsOurs(name):
		j.current.ours = true
		return true
	default:
		j.current.calls = append(j.current.calls, clientCall{id, name})
	}
	return false
}

// passBlock passes an event of a block on, if the client sees the block.
func (j *joint) passBlock(ready []byte, event sse.Event, index int64) []byte {
	j.current.data.Add(event.Data)
	if index == j.current.thought && bytes.Contains(event.Data, []byte("signature")) {
		j.noteSecret(wire.String(wire.View(event.Data).Get("delta.signature")))
	}
	at, known := j.current.places[index]
	switch {
	case !known || int64(at) == index:
		return append(ready, event.Raw...)
	case at == hidden:
		return ready
	}
	number := wire.View(event.Data).Get("index")
	data, err := jsonedit.Splice(event.Data, replace(number, strconv.AppendInt(nil, int64(at), 10)))
	if err != nil || number.Index == 0 {
		return append(ready, event.Raw...)
	}
	return event.AppendWithData(ready, data)
}

// replace returns the edit that puts other bytes into the place of a value, in the JSON that the value was read from.
func replace(value gjson.Result, with []byte) jsonedit.Edit {
	return jsonedit.Edit{Start: value.Index, End: value.Index + len(value.Raw), New: with}
}

func (j *joint) readStart(message gjson.Result) {
	if j.id == nil {
		j.id = []byte(message.Get("id").Raw)
	}
	j.readUsage(message.Get("usage"))
	j.readContainer(message.Get("container"))
}

// readContainer notes in which container the provider has run code for the answer.
func (j *joint) readContainer(container gjson.Result) {
	if id := container.Get("id"); id.Type == gjson.String && id.Str != "" {
		j.container = []byte(id.Raw)
	}
}

// inContainer returns the edits that let the next round go on in the container of those before, if there is one and the client names
// none.
func (j *joint) inContainer() []jsonedit.Edit {
	if len(j.container) == 0 {
		return nil
	}
	asked, _ := j.of.Body.Get("container")
	if !wire.Has(j.of.Body, "container") {
		return []jsonedit.Edit{j.of.Body.Set("container", j.container)}
	}
	object, err := jsonedit.Parse(asked)
	if err != nil || wire.Has(object, "id") {
		return nil // It is named, or what it is only the provider knows.
	}
	return jsonedit.Moved([]jsonedit.Edit{object.Set("id", j.container)}, j.of.Body.Start("container"))
}

func (j *joint) readUsage(usage gjson.Result) {
	if usage.IsObject() {
		j.current.usage = wire.LastUsage(j.current.usage, []byte(usage.Raw))
	}
}

// hold keeps an event that belongs to the end of the turn.
func (j *joint) hold(event sse.Event) {
	j.current.held = append(j.current.held, sse.Event{Raw: bytes.Clone(event.Raw), Data: bytes.Clone(event.Data)})
}

// appendDelta appends an event, with the usage of all rounds if it has a usage, or tells why the answer stops, and there was another
// round.
func (j *joint) appendDelta(ready []byte, event sse.Event) []byte {
	view := wire.View(event.Data)
	ends := view.Get("type").Str == "message_delta" && view.Get("delta.stop_reason").Type == gjson.String
	if len(j.usage) == 0 || !ends && !view.Get("usage").IsObject() {
		return append(ready, event.Raw...)
	}
	object, err := jsonedit.Parse(event.Data)
	if err != nil {
		return append(ready, event.Raw...)
	}
	data, err := jsonedit.Splice(event.Data, object.Set("usage", wire.SumUsage(j.usage, j.current.usage)))
	if err != nil {
		return append(ready, event.Raw...)
	}
	return event.AppendWithData(ready, data)
}

func (j *joint) Finish(ready []byte) []byte {
	if j.form == wire.Body {
		return append(ready, j.body()...)
	}
	for _, event := range j.current.held {
		ready = j.appendDelta(ready, event)
	}
	return ready
}

func (j *joint) Fail(ready []byte, failure wire.Failure) []byte {
	kind := failure.Type
	if kind == "" {
		kind = "api_error"
	}
	text, _ := json.Marshal(map[string]any{ // Strings always marshal.
		"type": "error", "error": map[string]string{"type": kind, "message": failure.Message},
	})
	return append(append(append(ready, "event: error\ndata: "...), text...), "\n\n"...)
}

func (j *joint) Ping(ready []byte) []byte { return append(ready, ping...) }

const ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n"
