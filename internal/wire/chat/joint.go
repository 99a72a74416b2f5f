package chat

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// joint makes one answer of the chunks of several rounds. What a chunk says goes to the client at once; what ends the answer
// is held in a round in which one of the gateway's tools was called.
type joint struct {
	joined wire.Joined
	form   wire.Form

	// Of the whole answer.
	round       int
	id          string // The first answer's, in quotes, or empty.
	created     string // The first answer's, or empty.
	roleTold    bool
	next        int64         // The index of the next call that the client sees.
	hidden      bool          // The client has not seen all.
	open        bool          // The client's stream does not end with a blank line.
	failed      bool          // The client has seen an error.
	thoughts    int64         // How many indexes of reasoning_details the rounds before had.
	usage       []byte        // The sum of the usage of the rounds before.
	earlier     []byte        // The messages of the rounds before, with commas between them.
	kept        wire.KeptTurn // The rounds before, and the last one if it was closed.
	said        grown         // What the bodies of the rounds before say.
	shownBefore *wire.Said    // What the client has seen of the rounds before.
	logprobs    []byte        // Of the bodies of the rounds before: lists, one behind the other.

	// Of one round.
	payloads wire.Payloads
	data     wire.TurnData
	callers
	first       bool // The client has seen nothing of it.
	ours        bool // A tool of the gateway was called.
	finish      string
	lastUsage   []byte
	turn        *turn // What the model wants of the gateway, once the answer has ended.
	held        []byte
	body        chunk     // What the body says, if the answer is one.
	text, shown textChunk // A chunk with nothing but text, as it came and as the client sees it.

	scratch, written []byte // Room for data and for an event.
}

func newJoint(joined wire.Joined) wire.Joint {
	return &joint{joined: joined, data: wire.TurnData{Memory: joined.Memory}}
}

func (j *joint) Begin(form wire.Form) {
	j.form = form
	j.payloads, j.text, j.shown = wire.Payloads{}, textChunk{}, textChunk{}
	j.data.Reset()
	j.callers = newCallers(j.joined)
	j.first, j.ours, j.finish, j.lastUsage, j.held, j.turn = true, false, "", nil, nil, &turn{}
}

func (j *joint) Pass(ready []byte, event sse.Event) []byte {
	if j.form == wire.Body {
		return j.passBody(ready, event.Data)
	}
	if j.round > 0 { // It stands in the middle of the client's stream.
		event.Raw = bytes.TrimPrefix(event.Raw, []byte("\ufeff"))
	}
	data, _ := j.payloads.Object(event)
	switch {
	case event.Opaque:
		j.data.Add(event.Raw) // A turn with it is too large.
	case data != nil:
		j.data.Add(data)
		return j.passChunk(ready, event, data)
	case wire.IsDone(event):
		ready = j.settle(ready)
		untold := j.untold()
		if j.ours {
			j.hold(untold)
			j.hold(event.Raw)
			return ready
		}
		if untold != nil {
			ready = j.show(ready, untold)
		}
	}
	return j.show(ready, event.Raw)
}

// untold returns the chunk with the usage of the rounds before, if this one has not told any to a client that asks for it, or
// nil.
func (j *joint) untold() []byte {
	if j.lastUsage != nil || j.usage == nil || j.failed || j.joined.Request.Withhold != nil || !asksForUsage(j.joined.Body) {
		return nil
	}
	chunk := []byte(`{"object":"chat.completion.chunk","choices":[]`)
	if j.id != "" {
		chunk = append(append(chunk, `,"id":`...), j.id...)
	}
	if j.created != "" {
		chunk = append(append(chunk, `,"created":`...), j.created...)
	}
	return dataEvent(append(append(append(chunk, `,"usage":`...), j.usage...), '}'))
}

// heldLimit is how many bytes of the end of an answer are held.
const heldLimit = 1 << 20

// hold keeps what ends the answer. What does not fit is left out: nothing is known that sends so much there.
func (j *joint) hold(raw []byte) {
	if len(j.held)+len(raw) <= heldLimit {
		j.held = append(j.held, raw...)
	}
}

// show appends bytes of the client's stream.
func (j *joint) show(ready, raw []byte) []byte {
	if j.first {
		ready = j.separate(ready)
	}
	j.first, j.open = false, !endsEvent(raw)
	return append(ready, raw...)
}

// separate ends an event that was not ended: the last one of a round may lack its blank line.
func (j *joint) separate(ready []byte) []byte {
	if j.open {
		ready = append(ready, "\n\n"...)
	}
	j.open = false
	return ready
}

// endsEvent reports whether bytes end with a blank line.
func endsEvent(raw []byte) bool {
	line, ended := cutLineEnd(raw)
	_, blank := cutLineEnd(line)
	return ended && (blank || len(line) == 0)
}

func cutLineEnd(raw []byte) (line []byte, ended bool) {
	line = bytes.TrimSuffix(raw, []byte{'\n'})
	line = bytes.TrimSuffix(line, []byte{'\r'})
	return line, len(line) < len(raw)
}

func (j *joint) passChunk(ready []byte, event sse.Event, data []byte) []byte {
	switch {
	case j.text.fits(data):
		return j.showText(ready, event, data)
	case j.round == 0 && j.id != "" && len(j.held) == 0 && !concerns(data):
		if bytes.Contains(data, []byte(`"choices"`)) {
			j.text.learn(data)
		}
		return j.show(ready, event.Raw)
	case !wire.IsSound(data):
		return j.show(ready, event.Raw)
	}
	c, ready := j.read(ready, event, data)
	defer func() { j.roleTold = j.roleTold || c.role }()
	if withhold := j.joined.Request.Withhold; withhold != nil && withhold(event) {
		return ready
	}
	if c.failed { // There is no other round, and the end of this one comes first.
		j.failed, ready = true, j.showHeld(ready)
	}
	switch isHeld := j.ours && c.ends && !c.failed; {
	case isHeld:
		said := j.write(data, c, saying)
		if said != nil {
			ready = j.show(ready, event.AppendWithData(nil, said))
		}
		if c.finish || c.usage || said == nil && !c.changes {
			j.hold(event.AppendWithData(nil, j.write(data, c, ending)))
		}
		return ready
	case !c.changes && (j.round == 0 || c.failed && !c.named):
		return j.show(ready, event.Raw)
	}
	all := j.write(data, c, saying|ending)
	if all == nil {
		return ready
	}
	if c.callers == nil && !c.ends && j.text.learn(data) && !j.shown.learn(all) {
		j.text = textChunk{}
	}
	return j.show(ready, event.AppendWithData(nil, all))
}

// showText passes a chunk with nothing but text.
func (j *joint) showText(ready []byte, event sse.Event, data []byte) []byte {
	if j.round == 0 {
		return j.show(ready, event.Raw)
	}
	text := data[len(j.text.before) : len(data)-len(j.text.after)]
	j.scratch = append(append(append(j.scratch[:0], j.shown.before...), text...), j.shown.after...)
	j.written = event.AppendWithData(j.written[:0], j.scratch)
	return j.show(ready, j.written)
}

func (j *joint) Turn() wire.Turn {
	if j.form == wire.Body {
		for body := range j.data.All() {
			j.readBody(body)
		}
		if j.data.Err() != nil {
			return wire.Turn{} // The client has it.
		}
	}
	j.held = append(j.settle(nil), j.held...)
	var turn wire.Turn
	if isCut(j.finish) {
		return turn
	}
	j.readTurn()
	for _, of := range j.turn.calls {
		if !j.joined.IsOurs(of.Name) {
			turn.Mixed = true
			continue
		}
		turn.Calls = append(turn.Calls, wire.ToolCall{
			ID: of.ID, ItemID: of.ItemID, Name: of.Name, Input: of.text(), Origin: of.Origin,
		})
	}
	return turn
}

// isCut reports whether an answer that finishes for that reason may have ended within a call.
func isCut(finish string) bool {
	switch finish {
	case "length", "content_filter", "error", "max_tokens", "insufficient_system_resource":
		return true
	}
	return false
}

// readTurn makes the turn of the round's data. If that did not fit, only its calls are known.
func (j *joint) readTurn() {
	switch {
	case !j.ours:
	case j.data.Err() != nil:
		for _, of := range j.order {
			j.turn.calls = append(j.turn.calls, &turnCall{call: of.call})
		}
	default:
		j.turn = readTurn(j.form, j.data.All())
	}
}

func (j *joint) Continue(results []wire.Result) ([]jsonedit.Edit, error) {
	if err := j.keep(results); err != nil {
		return nil, err
	}
	round := j.kept.Rounds[len(j.kept.Rounds)-1]
	messages := j.turn.appendMessage(comma(nil, j.round), round.Calls)
	for _, result := range round.Results {
		messages = append(append(messages, ','), result...)
	}
	if j.joined.Memory.Take(int64(len(messages))) != nil {
		return nil, wire.ErrTurnTooLarge
	}
	j.earlier = append(j.earlier, messages...)
	if j.form == wire.Body {
		j.said.addMessage(&j.turn.message, j.thoughts)
		j.keepLogprobs()
	}
	j.shownBefore = j.shownBefore.Clone()
	j.turn.addTo(j.shownBefore)
	j.thoughts += j.turn.thoughts()
	j.usage = j.summed(j.lastUsage)
	j.round++
	j.hidden = true
	return slices.Concat(j.joined.Restored, j.joined.Body.Insert("messages", j.earlier, false)), nil
}

// summed returns a usage with that of the rounds before added to it.
func (j *joint) summed(usage []byte) []byte {
	if len(usage) == 0 {
		return j.usage
	}
	return wire.SumUsage(j.usage, usage)
}

func (j *joint) Close(results []wire.Result) { _ = j.keep(results) } // What cannot be kept is not put back.

func (j *joint) Finish(ready []byte) []byte {
	switch {
	case j.form == wire.Body && (j.round == 0 && !j.ours || !j.body.choices):
		return ready // It is as it came.
	case j.form == wire.Body:
		for body := range j.data.All() {
			ready = j.appendBody(ready, body)
		}
		return ready
	}
	return j.showHeld(j.settle(ready))
}

// showHeld appends what was held.
func (j *joint) showHeld(ready []byte) []byte {
	if len(j.held) > 0 {
		ready = append(j.separate(ready), j.held...)
	}
	j.held = nil
	return ready
}

func (j *joint) Fail(ready []byte, failure wire.Failure) []byte {
	if j.failed {
		return ready
	}
	j.failed = true
	ready = gjson.AppendJSONString(append(j.separate(ready), `data: {"error":{"message":`...), failure.Message)
	ready = gjson.AppendJSONString(append(ready, `,"type":`...), cmp.Or(failure.Type, "server_error"))
	if ready = append(ready, `,"code":`...); failure.Code == "" {
		ready = append(ready, "null"...)
	} else {
		ready = gjson.AppendJSONString(ready, failure.Code)
	}
	return append(ready, "}}\n\n"...)
}

func (j *joint) Ping(ready []byte) []byte { return append(j.separate(ready), ping...) }

const ping = ": ping\n\n"
