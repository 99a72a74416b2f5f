package messages

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// mark tells a block that the client has seen and may send again.
type mark struct {
	Kind    string `json:"kind"`
	Content string `json:"content"` // A text that is the same for the same content.
	// Bound says that the block is good only at its place: it is a thought with a signature, or a call.
	Bound bool `json:"bound,omitempty"`
}

func markOf(block gjson.Result) mark {
	m := mark{Kind: block.Get("type").Str}
	switch m.Kind {
	case "tool_use":
		return callMark(wire.ToolCall{
			ID: wire.String(block.Get("id")), Name: wire.String(block.Get("name")), Input: block.Get("input").Raw,
		})
	case "thinking", "redacted_thinking":
		secret := secretOf(block)
		m.Content, m.Bound = wire.CallCheck(secret, wire.String(block.Get("thinking"))), secret != ""
	case "text":
		m.Content = wire.CallCheck("", wire.String(block.Get("text")))
	default:
		m.Content = wire.CallCheck("", wire.String(block.Get("id"))+wire.String(block.Get("tool_use_id")))
	}
	return m
}

// callMark returns the mark of a call of one of the client's tools.
func callMark(call wire.ToolCall) mark {
	return mark{Kind: "tool_use", Content: wire.CallCheck(call.ID+"\x00"+call.Name, call.Input), Bound: true}
}

// mark returns the block's mark.
func (b built) mark() mark {
	if b.call.Name != "" {
		return callMark(b.call)
	}
	return markOf(wire.View(b.text))
}

// secretOf returns what only the provider can read of a thought, or "".
func secretOf(thought gjson.Result) string {
	return cmp.Or(wire.String(thought.Get("signature")), wire.String(thought.Get("data")))
}

// marksOf returns the marks of all that the client has seen of a turn, or false if these are not sound.
func marksOf(turn wire.KeptTurn) (marks []mark, sound bool) {
	for _, round := range turn.Rounds {
		var some []mark
		if json.Unmarshal(round.Around, &some) != nil || len(some) != round.Seen {
			return nil, false
		}
		marks = append(marks, some...)
	}
	return marks, true
}

// find returns which of the marks each block has: -1 is none. It fails if a bound block has none, or not in their order.
// Blocks of another content are taken for those of the same kind: clients write texts anew.
func find(blocks []gjson.Result, marks []mark) (at []int, ok bool) {
	sent := make([]mark, len(blocks))
	at = make([]int, len(blocks))
	next := 0
	for n, block := range blocks {
		sent[n], at[n] = markOf(block), -1
		if !sent[n].Bound {
			continue
		}
		i := slices.Index(marks[next:], sent[n])
		if i < 0 {
			return nil, false
		}
		at[n] = next + i
		next = at[n] + 1
	}
	next = 0
	for n := range blocks {
		if at[n] < 0 {
			before := marks[next:limit(at[n:], len(marks))]
			i := slices.Index(before, sent[n])
			if i < 0 {
				i = slices.IndexFunc(before, func(m mark) bool { return m.Kind == sent[n].Kind && !m.Bound })
			}
			if i < 0 {
				continue
			}
			at[n] = next + i
		}
		next = at[n] + 1
	}
	return at, true
}

// limit returns the first that is told of some marks, or most if none is.
func limit(at []int, most int) int {
	for _, i := range at {
		if i >= 0 {
			return i
		}
	}
	return most
}
