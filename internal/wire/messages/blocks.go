package messages

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// blocks are the content blocks of one answer that are calls or thoughts.
type blocks struct {
	gathering wire.Gathering
	all       []*block
	// open holds the blocks that further events can add to, by their index.
	open map[int64]*block
}

// block is a content block that is a call or a thought; the other is nil.
type block struct {
	call    *wire.Call
	thought *wire.Thinking
	// told says that a whole message brought the block. The events that make it, if they follow, bring it once more.
	told bool
}

// saysNothing reports whether blocks of that kind are neither calls nor thoughts.
func saysNothing(kind string) bool {
	switch kind {
	case "text", "compaction", "container_upload", "fallback", "document", "image", "search_result", "citations":
		return true
	}
	return strings.HasSuffix(kind, "_result")
}

// begin notes a block that begins. It reports whether it knows the kind of block.
func (b *blocks) begin(index int64, content gjson.Result) bool {
	before := b.open[index]
	delete(b.open, index) // Later pieces belong to this block, not to an earlier one with its index.
	kind := content.Get("type").Str
	var begun *block
	switch {
	case isCall(kind):
		id, name := wire.String(content.Get("id")), wire.String(content.Get("name"))
		switch begun = b.toldCall(id, name); {
		case begun != nil:
		case before != nil && before.call != nil && id != "" && before.call.ID == id && before.call.Name == name:
			begun = before
			begun.call.Input.Again()
		default:
			begun = b.addCall(id, name)
		}
		if begun != nil {
			b.readCall(begun.call, content)
		}
	case isThought(kind):
		if begun = b.toldThought(); begun == nil {
			begun = b.addThought()
		}
		if begun != nil {
			begun.thought.Content.Add(wire.String(content.Get("thinking")))
			begun.thought.Redacted = begun.thought.Redacted || isHidden(kind, content)
		}
	default:
		return saysNothing(kind)
	}
	if begun != nil {
		begun.told = false
		b.open[index] = begun
	}
	return true
}

func isCall(kind string) bool { return kind == "tool_use" || strings.HasSuffix(kind, "_tool_use") }

func isThought(kind string) bool { return kind == "thinking" || kind == "redacted_thinking" }

// isHidden reports whether a thought is there in a form that nobody can read: as data, or with only its signature.
func isHidden(kind string, content gjson.Result) bool {
	return kind == "redacted_thinking" || wire.String(content.Get("signature")) != ""
}

// toldCall returns the call that a whole message brought and whose events begin, or nil.
func (b *blocks) toldCall(id, name string) *block {
	for _, known := range b.all {
		if known.told && known.call != nil && known.call.ID == id && (id != "" || known.call.Name == name) {
			return known
		}
	}
	return nil
}

func (b *blocks) toldThought() *block {
	for _, known := range b.all {
		if known.told && known.thought != nil {
			return known
		}
	}
	return nil
}

// addCall returns a new block, or nil if there are too many.
func (b *blocks) addCall(id, name string) *block {
	call := b.gathering.Call()
	if call == nil {
		return nil
	}
	call.ID, call.Name, call.Default = b.gathering.Keep(id), b.gathering.Keep(name), "{}"
	return b.add(&block{call: call})
}

func (b *blocks) addThought() *block {
	thought := b.gathering.Thought("thinking")
	if thought == nil {
		return nil
	}
	return b.add(&block{thought: thought})
}

func (b *blocks) add(begun *block) *block {
	b.all = append(b.all, begun)
	return begun
}

// readCall notes the members of a call's block beside its id and name.
func (b *blocks) readCall(call *wire.Call, content gjson.Result) {
	b.gathering.ReadOrigin(call, content)
	if input := content.Get("input"); input.Exists() && input.Type != gjson.Null && input.Raw != `""` && call.Default == "{}" {
		call.Default = b.gathering.Keep(input.Raw)
	}
}

// readContent notes the blocks of a message. The n-th thought of a message is the n-th thought of the answer; a call is
// recognised by its id or, without one, by its place among the calls. It reports whether it knows all kinds of blocks.
func (b *blocks) readContent(content gjson.Result) bool {
	if !content.IsArray() {
		return content.Type == gjson.Null || content.Type == gjson.String
	}
	understood := true
	known := b.all
	calls, thoughts := 0, 0
	content.ForEach(func(_, value gjson.Result) bool {
		kind := value.Get("type").Str
		switch {
		case isCall(kind):
			b.readWholeCall(known, calls, value)
			calls++
		case isThought(kind):
			b.readWholeThought(nth(known, thoughts, isThoughtBlock), kind, value)
			thoughts++
		default:
			understood = saysNothing(kind) && understood
		}
		return true
	})
	return understood
}

func (b *blocks) readWholeCall(known []*block, n int, value gjson.Result) {
	id, name := wire.String(value.Get("id")), wire.String(value.Get("name"))
	it := nth(known, n, isCallBlock)
	if it != nil && it.call.ID != id && (it.call.ID != "" || it.call.Name != name) {
		it = nil
	}
	if id != "" && (it == nil || it.call.ID != id) {
		for _, other := range known {
			if isCallBlock(other) && other.call.ID == id {
				it = other
			}
		}
	}
	if it == nil {
		if it = b.addCall(id, name); it == nil {
			return
		}
		it.told = true
	}
	b.readCall(it.call, value)
	if it.call.Input.String() != "" {
		it.call.Input.Complete(value.Get("input").Raw)
	}
}

func (b *blocks) readWholeThought(it *block, kind string, value gjson.Result) {
	if it == nil {
		if it = b.addThought(); it == nil {
			return
		}
		it.told = true
	}
	it.thought.Content.Complete(wire.String(value.Get("thinking")))
	it.thought.Redacted = it.thought.Redacted || isHidden(kind, value)
}

func isCallBlock(b *block) bool    { return b.call != nil }
func isThoughtBlock(b *block) bool { return b.thought != nil }

// nth returns the n-th block of a kind, or nil.
func nth(blocks []*block, n int, is func(*block) bool) *block {
	for _, b := range blocks {
		if !is(b) {
			continue
		}
		if n == 0 {
			return b
		}
		n--
	}
	return nil
}

// extend adds a piece to an open block. It reports whether it knows the kind of piece, and has the block that the piece
// belongs to.
func (b *blocks) extend(index int64, delta gjson.Result) bool {
	open := b.open[index]
	var kind, input, thinking, signature gjson.Result
	delta.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "type":
			kind = value
		case "partial_json":
			input = value
		case "thinking":
			thinking = value
		case "signature":
			signature = value
		}
		return true
	})
	switch kind.Str {
	case "text_delta", "citations_delta", "compaction_delta":
		return true
	case "input_json_delta":
		if open == nil || open.call == nil {
			return false
		}
		open.call.Input.AddJSON(wire.String(input))
		return true
	case "thinking_delta":
		if open == nil || open.thought == nil {
			return false
		}
		open.thought.Content.Add(wire.String(thinking))
		return true
	case "signature_delta":
		if open == nil || open.thought == nil {
			return false
		}
		open.thought.Redacted = open.thought.Redacted || wire.String(signature) != ""
		return true
	}
	return false
}
