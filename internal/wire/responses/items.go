package responses

import (
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// items are the output items of one answer that are calls or thoughts.
//
// An item is reported up to three times: when it begins, when it is done, and within the whole response. Neither its id
// nor its position is enough to recognise it: some servers give an item another id each time, others give all items the
// same position.
type items struct {
	gathering wire.Gathering

	byID       map[string]*item
	byCallID   map[string]*item
	byPosition map[int64]*item
	// commentaries is how many messages of commentary have begun and are not done.
	commentaries int
}

// item is a call, or else a reasoning or a message of commentary, which are thoughts.
type item struct {
	kind string // The API's name for it.
	done bool

	call *wire.Call
	// parts are the thoughts by their index in the item. The first one always exists.
	parts map[int64]*wire.Thinking
}

func newItems() *items {
	return &items{byID: map[string]*item{}, byCallID: map[string]*item{}, byPosition: map[int64]*item{}}
}

// begin notes an item that begins, with its content so far.
func (s *items) begin(position int64, value gjson.Result) {
	if s.find(-1, value) != nil {
		return
	}
	if it := s.add(position, value); it != nil && it.call != nil {
		it.call.Default = cmp.Or(s.gathering.Keep(input(value)), it.call.Default)
	}
}

// add returns a new item, or nil if it is neither call nor thought, or if there are too many.
func (s *items) add(position int64, value gjson.Result) *item {
	it := &item{kind: value.Get("type").Str}
	switch {
	case strings.HasSuffix(it.kind, "_call"):
		it.call = s.addCall(it.kind, value)
	case it.kind == "reasoning", it.kind == "message" && value.Get("phase").Str == "commentary":
		s.part(it, 0)
	}
	if it.call == nil && it.parts == nil {
		return nil
	}
	it.kind = strings.Clone(it.kind)
	if it.kind == "message" {
		s.commentaries++
	}
	if id := s.gathering.Keep(value.Get("id").Str); id != "" {
		s.byID[id] = it
	}
	if it.call != nil && it.call.ID != "" {
		s.byCallID[it.call.ID] = it
	}
	if position >= 0 {
		s.byPosition[position] = it
	}
	return it
}

// addCall returns a new call, or nil if there are too many. A call of a hosted tool has its kind as its name, and not
// always an input.
func (s *items) addCall(kind string, value gjson.Result) *wire.Call {
	call := s.gathering.Call()
	if call == nil {
		return nil
	}
	call.ID = s.gathering.Keep(value.Get("call_id").Str)
	call.ItemID = s.gathering.Keep(value.Get("id").Str)
	switch kind {
	case "function_call", "custom_tool_call", "mcp_call":
		call.Name = s.gathering.Keep(value.Get("name").Str)
	default:
		call.Name = s.gathering.Keep(kind)
		call.Default = "{}"
	}
	return call
}

// input returns a call's input: a function's arguments, a custom tool's text, or the member that a hosted tool uses.
func input(call gjson.Result) string {
	for _, name := range []string{"arguments", "input", "action", "actions", "operation", "queries", "code"} {
		switch value := call.Get(name); {
		case value.Type == gjson.String && value.Str != "":
			return wire.String(value)
		case value.Type == gjson.JSON:
			return value.Raw
		}
	}
	return ""
}

// finish replaces an item's content by its final one. The item may be known or new.
func (s *items) finish(position int64, value gjson.Result) {
	it := s.find(position, value)
	if it == nil {
		it = s.add(position, value)
	}
	if it == nil {
		return
	}
	switch {
	case it.call != nil:
		it.call.Input.Replace(input(value))
	case it.kind == "reasoning":
		s.finishReasoning(it, value)
	default:
		s.replace(it, 0, contentText(value))
		if !it.done {
			s.commentaries--
		}
	}
	it.done = true
}

func (s *items) finishReasoning(it *item, value gjson.Result) {
	var index int64
	shown := false
	value.Get("summary").ForEach(func(_, part gjson.Result) bool {
		text := wire.String(part.Get("text"))
		s.replace(it, index, text)
		shown = shown || text != ""
		index++
		return true
	})
	it.parts[0].Redacted = !shown && value.Get("encrypted_content").Str != ""
}

// contentText returns the text of a message.
func contentText(message gjson.Result) string {
	var texts strings.Builder
	message.Get("content").ForEach(func(_, part gjson.Result) bool {
		texts.WriteString(wire.String(part.Get("text")))
		return true
	})
	return texts.String()
}

// part returns the thought at an index of an item, which it begins if it is new, or nil if there are too many.
func (s *items) part(it *item, index int64) *wire.Thinking {
	thought := it.parts[index]
	if thought != nil {
		return thought
	}
	source := "reasoning_summary"
	if it.kind == "message" {
		source = "commentary"
	}
	if thought = s.gathering.Thought(source); thought == nil {
		return nil
	}
	if it.parts == nil {
		it.parts = make(map[int64]*wire.Thinking, 1)
	}
	it.parts[index] = thought
	return thought
}

func (s *items) replace(it *item, index int64, text string) {
	if thought := s.part(it, index); thought != nil {
		thought.Content.Replace(text)
	}
}

// addToCall adds an event's piece of input to its call.
func (s *items) addToCall(event gjson.Result) {
	if it := s.findFor(event); it != nil && it.call != nil {
		it.call.Input.Add(wire.String(event.Get("delta")))
	}
}

// addToThought adds an event's piece of text to an item of that kind. The parts of a message are one thought.
func (s *items) addToThought(kind string, event gjson.Result) {
	it := s.findFor(event)
	if it == nil || it.kind != kind {
		return
	}
	if thought := s.part(it, event.Get("summary_index").Int()); thought != nil {
		thought.Content.Add(wire.String(event.Get("delta")))
	}
}

// find returns the known item that value reports, or nil. The output of a call has the call's id too, and another item
// may have the same position; so find also compares the kinds.
func (s *items) find(position int64, value gjson.Result) *item {
	kind, callID := value.Get("type").Str, value.Get("call_id").Str
	if it := s.byCallID[callID]; it != nil && it.kind == kind {
		return it
	}
	if it := s.byID[value.Get("id").Str]; it != nil && it.kind == kind {
		return it
	}
	it := s.byPosition[position]
	switch {
	case it == nil, it.kind != kind:
		return nil
	case it.call != nil && it.call.ID != "" && callID != "":
		return nil // The call ids differ: otherwise byCallID would have had it.
	}
	return it
}

// findFor returns the item that an event adds to, or nil. An item that is done is whole, and nothing is added to it.
func (s *items) findFor(event gjson.Result) *item {
	it := s.byID[event.Get("item_id").Str]
	if it == nil {
		it = s.byPosition[position(event)]
	}
	if it == nil || it.done {
		return nil
	}
	return it
}
