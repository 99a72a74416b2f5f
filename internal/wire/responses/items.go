package responses

import (
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/memory"
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
	// parts are the thoughts by their place in the item. A reasoning's first summary and a message's text always exist.
	parts map[partKey]*wire.Thinking
}

// partKey is the place of a thought in its item: its index in one of two lists.
type partKey struct {
	inContent bool // Not in the summary.
	index     int64
}

// messageText is the place of a message's text: its parts are one thought.
func messageText() partKey { return partKey{inContent: true} }

func newItems(memory *memory.Share) *items {
	return &items{gathering: wire.Gathering{Memory: memory}, byID: map[string]*item{}, byCallID: map[string]*item{}, byPosition: map[int64]*item{}}
}

// begin notes an item that begins, with its content so far. It reports whether it knows the kind of item.
func (s *items) begin(position int64, value gjson.Result) bool {
	if s.find(-1, value) != nil {
		return true
	}
	it := s.add(position, value)
	if it != nil && it.call != nil {
		it.call.Default = cmp.Or(s.gathering.Keep(input(value)), it.call.Default)
	}
	return it != nil || isItem(value)
}

// isItem reports whether items of that kind are known.
func isItem(value gjson.Result) bool {
	switch kind := value.Get("type").Str; kind {
	case "message", "reasoning", "mcp_list_tools", "mcp_approval_response", "compaction", "compaction_summary", "item_reference":
		return true
	default:
		return isCall(kind) || strings.HasSuffix(kind, "_output")
	}
}

// isCall reports whether items of that kind are calls. One that waits for an approval is one, too.
func isCall(kind string) bool {
	return strings.HasSuffix(kind, "_call") || kind == "mcp_approval_request"
}

// add returns a new item, or nil if it is neither call nor thought, or if there are too many.
func (s *items) add(position int64, value gjson.Result) *item {
	it := &item{kind: value.Get("type").Str}
	switch {
	case isCall(it.kind):
		it.call = s.addCall(it.kind, value)
	case it.kind == "reasoning":
		s.part(it, partKey{})
	case it.kind == "message" && value.Get("phase").Str == "commentary":
		s.part(it, messageText())
	}
	if it.call == nil && it.parts == nil {
		return nil
	}
	it.kind = strings.Clone(it.kind)
	if it.kind == "message" {
		s.commentaries++
	}
	if id := s.gathering.Keep(wire.String(value.Get("id"))); id != "" {
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
	call.ID = s.gathering.Keep(wire.String(value.Get("call_id")))
	call.ItemID = s.gathering.Keep(wire.String(value.Get("id")))
	s.gathering.ReadOrigin(call, value)
	switch kind {
	case "function_call", "custom_tool_call", "mcp_call", "mcp_approval_request":
		call.Name = s.gathering.Keep(wire.String(value.Get("name")))
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

// finish replaces an item's content by its final one. The item may be known or new. It reports whether it knows the kind
// of item.
func (s *items) finish(position int64, value gjson.Result) bool {
	it := s.find(position, value)
	if it == nil {
		it = s.add(position, value)
	}
	if it == nil {
		return isItem(value)
	}
	switch {
	case it.call != nil:
		it.call.Input.Replace(input(value))
		s.gathering.ReadOrigin(it.call, value)
	case it.kind == "reasoning":
		s.finishReasoning(it, value)
	default:
		s.replace(it, messageText(), contentText(value))
	}
	if value.Get("status").Str == "in_progress" {
		return true // It is the content so far.
	}
	if it.kind == "message" && !it.done {
		s.commentaries--
	}
	it.done = true
	return true
}

// finishReasoning replaces the texts of a reasoning: those of its summary, and those of the reasoning itself, which some
// models show. One that is neither is hidden.
func (s *items) finishReasoning(it *item, value gjson.Result) {
	shown := false
	for _, list := range [...]struct {
		name      string
		inContent bool
	}{{"summary", false}, {"content", true}} {
		var index int64
		value.Get(list.name).ForEach(func(_, part gjson.Result) bool {
			text := wire.String(part.Get("text"))
			if text != "" || !list.inContent {
				s.replace(it, partKey{list.inContent, index}, text)
			}
			shown = shown || text != ""
			index++
			return true
		})
	}
	it.parts[partKey{}].Redacted = !shown && wire.String(value.Get("encrypted_content")) != ""
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

// part returns the thought at a place of an item, which it begins if it is new, or nil if there are too many. A reasoning
// that some server sends both as its summary and as its content counts once.
func (s *items) part(it *item, at partKey) *wire.Thinking {
	thought := it.parts[at]
	if thought != nil {
		return thought
	}
	source := "reasoning_summary"
	switch {
	case it.kind == "message":
		source = "commentary"
	case at.inContent:
		source = "thinking"
	}
	if thought = s.gathering.Thought(source); thought == nil {
		return nil
	}
	if it.parts == nil {
		it.parts = make(map[partKey]*wire.Thinking, 1)
	}
	it.parts[at] = thought
	if summary, content := it.parts[partKey{index: at.index}], it.parts[partKey{true, at.index}]; summary != nil && content != nil {
		content.Echoes = summary
	}
	return thought
}

func (s *items) replace(it *item, at partKey, text string) {
	if thought := s.part(it, at); thought != nil {
		thought.Content.Replace(text)
	}
}

// itemEvent says what an event does to an item: it has a piece of its input or of a thought, or the whole of it.
type itemEvent struct {
	kind      string // That of the items with such events; empty: calls.
	text      textMember
	isWhole   bool
	inContent bool
	isJSON    bool // The text is.
}

// itemEvents is the table of the events that have something of a call or a thought.
var itemEvents = map[string]itemEvent{
	"response.output_text.delta":             {kind: "message", text: inDelta, inContent: true},
	"response.reasoning_summary_text.delta":  {kind: "reasoning", text: inDelta},
	"response.reasoning_summary_text.done":   {kind: "reasoning", text: inText, isWhole: true},
	"response.reasoning_summary.delta":       {kind: "reasoning", text: inDelta},
	"response.reasoning_summary.done":        {kind: "reasoning", text: inText, isWhole: true},
	"response.reasoning_text.delta":          {kind: "reasoning", text: inDelta, inContent: true},
	"response.reasoning_text.done":           {kind: "reasoning", text: inText, inContent: true, isWhole: true},
	"response.reasoning.delta":               {kind: "reasoning", text: inDelta, inContent: true},
	"response.reasoning.done":                {kind: "reasoning", text: inText, inContent: true, isWhole: true},
	"response.function_call_arguments.delta": {text: inDelta, isJSON: true},
	"response.function_call_arguments.done":  {text: inArguments, isWhole: true},
	"response.custom_tool_call_input.delta":  {text: inDelta},
	"response.custom_tool_call_input.done":   {text: inInput, isWhole: true},
	"response.mcp_call_arguments.delta":      {text: inDelta, isJSON: true},
	"response.mcp_call_arguments.done":       {text: inArguments, isWhole: true},
}

// textMember says which member of an event has its text.
type textMember int

const (
	inDelta textMember = iota
	inText
	inArguments
	inInput
)

// said returns the text of an event.
func (m *members) said(in textMember) string {
	switch in {
	case inText:
		return wire.String(m.text)
	case inArguments:
		return wire.String(m.arguments)
	case inInput:
		return wire.String(m.input)
	default:
		return wire.String(m.delta)
	}
}

// placeOf returns the place of an event's thought in its item. The parts of a message are one thought.
func (part itemEvent) placeOf(event *members) partKey {
	index := event.summaryIndex
	switch {
	case part.kind == "message":
		return messageText()
	case part.inContent:
		index = event.contentIndex
	}
	at, _ := wire.Whole(index)
	return partKey{part.inContent, at}
}

// extend adds to an item what an event has of it. An item that is done is whole, and nothing is added to it.
func (s *items) extend(part itemEvent, event *members) {
	it := s.findFor(event)
	var text *wire.Text
	switch {
	case it == nil:
		return
	case part.kind == "" && it.call != nil:
		text = &it.call.Input
	case part.kind != "" && part.kind == it.kind:
		thought := s.part(it, part.placeOf(event))
		if thought == nil {
			return
		}
		text = &thought.Content
	default:
		return
	}
	switch said := event.said(part.text); {
	case part.isWhole:
		text.Replace(said)
	case part.isJSON:
		text.AddJSON(said)
	default:
		text.Add(said)
	}
}

// find returns the known item that value reports, or nil. The output of a call has the call's id too, and another item
// may have the same position; so find also compares the kinds.
func (s *items) find(position int64, value gjson.Result) *item {
	kind, callID := value.Get("type").Str, wire.String(value.Get("call_id"))
	if it := s.byCallID[callID]; it != nil && it.kind == kind {
		return it
	}
	if it := s.byID[wire.String(value.Get("id"))]; it != nil && it.kind == kind {
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
func (s *items) findFor(event *members) *item {
	it := s.byID[wire.String(event.itemID)]
	if it == nil {
		it = s.byPosition[event.position()]
	}
	if it == nil || it.done {
		return nil
	}
	return it
}
