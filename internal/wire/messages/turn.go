package messages

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// built is a block of a turn as it goes back to the provider.
type built struct {
	kind  string
	text  []byte // The block.
	call  wire.ToolCall
	ours  bool
	blank bool // A text without anything but white space, which providers emit and do not take back.
}

// readBody notes the body of an answer that is no stream.
func (j *joint) readBody(body []byte) {
	if len(body) == 0 || body[0] != '{' || !wire.IsSound(body) {
		return
	}
	message := wire.View(body)
	j.readStart(message)
	j.current.stop = wire.Kept(message.Get("stop_reason"))
	j.current.data.Add(body)
	for _, block := range j.blocks() {
		j.noteCall(block.kind, block.call.ID, block.call.Name)
		if isThought(block.kind) {
			j.current.signed = false
			j.noteSecret(secretOf(wire.View(block.text)))
		}
	}
}

// blocks returns the blocks of the turn, of a stream built of its events. Bytes of the model's own stay as they came.
func (j *joint) blocks() []built {
	var all []built
	if j.form == wire.Body {
		for body := range j.current.data.All() {
			wire.View(body).Get("content").ForEach(func(_, block gjson.Result) bool {
				all = append(all, j.read(strings.Clone(block.Raw), true)) // The data is overwritten in the next round.
				return true
			})
		}
		return all
	}
	open := map[int64]*growing{}
	var order []*growing
	for data := range j.current.data.All() {
		event := wire.View(data)
		index := place(event.Get("index"))
		switch event.Get("type").Str {
		case "content_block_start":
			open[index] = &growing{start: event.Get("content_block")}
			order = append(order, open[index])
		case "content_block_delta":
			if block := open[index]; block != nil {
				block.add(event.Get("delta"))
			}
		case "content_block_stop":
			if block := open[index]; block != nil {
				block.whole = true
			}
		}
	}
	for _, block := range order {
		all = append(all, j.read(string(block.built()), block.whole))
	}
	return all
}

// read reads a block. Whole says that the block has ended.
func (j *joint) read(raw string, whole bool) built {
	block := gjson.Parse(raw)
	b := built{kind: block.Get("type").Str, text: []byte(raw)}
	switch b.kind {
	case "text":
		b.blank = len(bytes.TrimSpace([]byte(block.Get("text").Str))) == 0
	case "tool_use":
		b.call = wire.ToolCall{ID: wire.String(block.Get("id")), Name: wire.String(block.Get("name")), Input: block.Get("input").Raw}
		if !whole {
			b.kind = "" // Its input may be a part of what the model would have written.
		}
		b.ours = j.of.IsOurs(b.call.Name)
		if b.ours && !block.Get("input").IsObject() {
			b.text = withInput(b.text, b.call.Input)
		}
		if invalid := block.Get("input.INVALID_JSON"); invalid.Exists() {
			b.call.Input = invalid.Str
		}
	}
	return b
}

// growing is a block of a stream.
type growing struct {
	start  gjson.Result
	pieces []grown
	whole  bool
}

// grown is a member of a block that deltas add to: a string, in the escapes that it came in, or a list.
type grown struct {
	name   string
	text   []byte
	isList bool
}

func (g *growing) add(delta gjson.Result) {
	delta.ForEach(func(name, value gjson.Result) bool {
		switch {
		case name.Str == "type":
		case value.Type == gjson.String:
			target := name.Str
			if target == "partial_json" {
				target = "input"
			}
			to := g.piece(target)
			to.text = append(to.text, value.Raw[1:len(value.Raw)-1]...)
		case name.Str == "citation":
			to := g.piece("citations")
			if to.isList {
				to.text = append(to.text, ',')
			}
			to.isList = true
			to.text = append(to.text, value.Raw...)
		}
		return true
	})
}

func (g *growing) piece(name string) *grown {
	for i := range g.pieces {
		if g.pieces[i].name == name {
			return &g.pieces[i]
		}
	}
	g.pieces = append(g.pieces, grown{name: name})
	return &g.pieces[len(g.pieces)-1]
}

// built returns the block with all that the deltas brought.
func (g *growing) built() []byte {
	block := []byte{'{'}
	add := func(name string, value []byte) {
		if len(block) > 1 {
			block = append(block, ',')
		}
		block = append(append(append(block, name...), ':'), value...)
	}
	isCall := isCall(g.start.Get("type").Str)
	written := map[string]bool{}
	g.start.ForEach(func(name, value gjson.Result) bool {
		at := slices.IndexFunc(g.pieces, func(p grown) bool { return p.name == name.Str })
		if at < 0 {
			add(name.Raw, []byte(value.Raw))
		} else {
			add(name.Raw, g.pieces[at].value(value, isCall))
		}
		written[name.Str] = true
		return true
	})
	for _, piece := range g.pieces {
		if !written[piece.name] {
			quoted, _ := json.Marshal(piece.name) // A string always marshals.
			add(string(quoted), piece.value(gjson.Result{}, isCall))
		}
	}
	return append(block, '}')
}

// value returns the whole of a member that began with the value of the block's start.
func (p *grown) value(start gjson.Result, isCall bool) []byte {
	switch {
	case p.isList:
		list := []byte{'['}
		if inner := bytes.Trim([]byte(start.Raw), "[] \n\r\t"); start.IsArray() && len(inner) > 0 {
			list = append(append(list, inner...), ',')
		}
		return append(append(list, p.text...), ']')
	case isCall && p.name == "input":
		return inputOf(p.text, start)
	}
	text := []byte{'"'}
	if start.Type == gjson.String {
		text = append(text, start.Raw[1:len(start.Raw)-1]...)
	}
	return append(append(text, p.text...), '"')
}

// inputOf returns the input of a call, whose JSON came as pieces of a string. Input that is no object goes back in the
// member INVALID_JSON, since the API takes nothing but objects.
func inputOf(escaped []byte, start gjson.Result) []byte {
	input, ok := jsonedit.String(slices.Concat([]byte{'"'}, escaped, []byte{'"'}))
	switch {
	case ok && input == "" && start.IsObject():
		return []byte(start.Raw)
	case ok && input == "":
		return []byte("{}")
	case ok && wire.IsSound([]byte(input)) && gjson.Parse(input).IsObject():
		return []byte(input)
	}
	return invalidInput(input)
}

func invalidInput(input string) []byte {
	wrapped, _ := json.Marshal(map[string]string{"INVALID_JSON": input}) // A string always marshals.
	return wrapped
}

// withInput returns a call, whose input came as another value than an object or not at all, as the API takes it back.
func withInput(call []byte, input string) []byte {
	object, err := jsonedit.Parse(call)
	if err != nil {
		return call
	}
	value := []byte("{}")
	if input != "" {
		value = invalidInput(input)
	}
	with, err := jsonedit.Splice(call, object.Set("input", value))
	if err != nil {
		return call
	}
	return with
}

// cuts reports whether an answer that ended for that reason may have been cut within a call, or is to be gone on with by
// the client.
func cuts(stop string) bool {
	switch stop {
	case "max_tokens", "model_context_window_exceeded", "refusal", "pause_turn":
		return true
	}
	return false
}

func (j *joint) Turn() wire.Turn {
	var wanted wire.Turn
	if !j.current.ours || cuts(j.current.stop) {
		return wanted
	}
	for _, block := range j.blocks() {
		switch {
		case block.ours && block.kind == "":
			return wire.Turn{Cut: true}
		case block.kind != "tool_use":
		case block.ours:
			wanted.Calls = append(wanted.Calls, block.call)
		default:
			wanted.Mixed = true
		}
	}
	return wanted
}

func (j *joint) Continue(results []wire.Result) ([]jsonedit.Edit, error) {
	if err := j.current.data.Err(); err != nil {
		return nil, err
	}
	blocks := j.blocks()
	written := j.keepRound(blocks, results)
	turn := []byte(`{"role":"assistant","content":[`)
	for i, block := range withoutBlank(blocks) {
		if i > 0 {
			turn = append(turn, ',')
		}
		turn = append(turn, block.text...)
	}
	turn = append(turn, `]},{"role":"user","content":[`...)
	turn = append(append(turn, jsonedit.Join(written...)...), `]}`...)
	if len(j.turns) > 0 {
		j.turns = append(j.turns, ',')
	}
	j.turns = append(j.turns, turn...)
	j.usage = wire.SumUsage(j.usage, j.current.usage)
	j.said = j.saidBy(blocks)
	j.show(blocks)
	return slices.Concat(j.of.Restored, j.of.Body.Insert("messages", j.turns, false), j.inContainer()), nil
}

func withoutBlank(blocks []built) []built {
	return slices.DeleteFunc(slices.Clone(blocks), func(b built) bool { return b.blank })
}

func (j *joint) Close(results []wire.Result) { j.keepRound(j.blocks(), results) }

// keepRound notes what of a round would have to be put back, and returns the results as the API takes them. What stands around
// the calls are the marks of the blocks that the client has seen.
func (j *joint) keepRound(blocks []built, results []wire.Result) [][]byte {
	var round wire.KeptRound
	var written [][]byte
	marks := []mark{}
	for _, block := range blocks {
		switch {
		case !block.ours:
			marks = append(marks, block.mark())
		case block.kind == "tool_use" && len(written) < len(results):
			round.Calls = append(round.Calls, wire.KeptCall{At: len(marks), Call: block.text})
			written = append(written, writeResult(block.call.ID, results[len(written)]))
		}
	}
	round.Results = append(round.Results, written...)
	round.Seen = len(marks)
	round.Around, _ = json.Marshal(marks) // Strings always marshal.
	j.kept.Rounds = append(j.kept.Rounds, round)
	return written
}

// leftOut stands in the place of an image in an error: the API refuses errors that have more than text.
const leftOut = "[An image is left out here: the result of a call that failed has text alone.]"

// writeResult returns the result of a call as the API takes it: content that is empty is left out, and an error needs some.
func writeResult(id string, result wire.Result) []byte {
	type source struct {
		Type      string `json:"type"`
		MediaType string `json:"media_type"`
		Data      string `json:"data"`
	}
	type part struct {
		Type   string  `json:"type"`
		Text   string  `json:"text,omitempty"`
		Source *source `json:"source,omitempty"`
	}
	block := struct {
		Type    string `json:"type"`
		ID      string `json:"tool_use_id"`
		IsError bool   `json:"is_error,omitempty"`
		Content []part `json:"content,omitempty"`
	}{Type: "tool_result", ID: id, IsError: result.IsError}
	for _, p := range result.Parts {
		switch {
		case p.MediaType != "" && result.IsError:
			block.Content = append(block.Content, part{Type: "text", Text: leftOut})
		case p.MediaType != "":
			block.Content = append(block.Content, part{Type: "image", Source: &source{"base64", p.MediaType, base64.StdEncoding.EncodeToString(p.Data)}})
		case len(bytes.TrimSpace([]byte(p.Text))) > 0:
			block.Content = append(block.Content, part{Type: "text", Text: p.Text})
		}
	}
	if result.IsError && len(block.Content) == 0 {
		block.Content = []part{{Type: "text", Text: "The tool failed and gave no reason."}}
	}
	written, _ := json.Marshal(block) // Strings and booleans always marshal.
	return written
}

// show keeps the blocks of an answer that is no stream for the client.
func (j *joint) show(blocks []built) {
	if j.form != wire.Body {
		return
	}
	for _, block := range blocks {
		if !block.ours {
			j.shown.Add(block.text)
		}
	}
}

// body returns the answer of all rounds that are no streams, or nothing if it is as it came.
func (j *joint) body() []byte {
	if j.round == 0 && !j.current.ours {
		return nil
	}
	j.show(j.blocks())
	for last := range j.current.data.All() {
		object, err := jsonedit.Parse(last)
		if err != nil || !wire.Has(object, "content") {
			break
		}
		var content [][]byte
		for block := range j.shown.All() {
			content = append(content, block)
		}
		edits := []jsonedit.Edit{object.Set("content", slices.Concat([]byte{'['}, jsonedit.Join(content...), []byte{']'}))}
		if len(j.id) > 0 && wire.Has(object, "id") {
			edits = append(edits, object.Set("id", j.id))
		}
		if len(j.usage) > 0 {
			edits = append(edits, object.Set("usage", wire.SumUsage(j.usage, j.current.usage)))
		}
		if joined, err := jsonedit.Splice(last, edits...); err == nil {
			return joined
		}
	}
	return nil
}

// Kept implements [wire.Joint]. A client sends an answer of several rounds again as one message. Its thoughts are good only at
// their places, so that the rounds are put back if there are any.
func (j *joint) Kept() []wire.ToKeep {
	if len(j.current.calls) == 0 && j.secret == "" {
		return nil
	}
	at := beginning(j.of.Body)
	at.Index = j.of.Body.Elements("messages").Len()
	var keep wire.ToKeep
	said := sync.OnceValue(func() *wire.Said { return j.saidBy(j.blocks()) })
	for _, call := range j.current.calls {
		keep.Keys = wire.AppendKeys(keep.Keys, callKey(call.id, call.name, at), said)
	}
	if j.secret != "" {
		keep.Keys = wire.AppendKeys(keep.Keys, thoughtKey(j.secret, at), said)
	}
	if !slices.ContainsFunc(j.kept.Rounds, func(round wire.KeptRound) bool { return len(round.Calls) > 0 }) {
		return []wire.ToKeep{keep}
	}
	blocks := j.blocks()
	if len(j.kept.Rounds) == j.round { // No call of the last round was run.
		j.keepRound(blocks, nil)
	}
	j.kept.Checks = map[string]string{}
	for _, block := range blocks {
		if block.kind == "tool_use" && !block.ours {
			j.kept.Checks[callKey(block.call.ID, block.call.Name, at)] = wire.CallCheck(block.call.Name, block.call.Input)
		}
	}
	if slices.ContainsFunc(keep.Keys, func(key string) bool { return strings.HasSuffix(key, wire.PlaceMark) }) {
		j.kept.Said = said().Text()
	}
	keep.Turn = j.kept.Encode()
	return []wire.ToKeep{keep}
}

// saidBy returns what the client has seen of all rounds, of which the last one has these blocks.
func (j *joint) saidBy(blocks []built) *wire.Said {
	said := j.said.Clone()
	for _, block := range blocks {
		switch {
		case block.ours:
		case block.kind == "tool_use":
			said.AddCall(block.call.Name, block.call.Input)
		case block.kind == "text":
			said.AddText(wire.View(block.text).Get("text").String())
		}
	}
	return said
}
