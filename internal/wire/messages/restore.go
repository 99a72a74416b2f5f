package messages

import (
	"bytes"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

func key(callID string) string { return "messages:" + callID }

// keys implements [wire.Tooling].Keys.
func keys(body jsonedit.Object, whole bool) []string {
	var found []string
	messages := body.Elements("messages")
	if !whole {
		wire.LastMessage(messages).Get("content").ForEach(func(_, part gjson.Result) bool {
			if part.Get("type").Str == "tool_result" {
				found = append(found, key(wire.String(part.Get("tool_use_id"))))
			}
			return true
		})
		return found
	}
	for i := range messages.Len() {
		if !bytes.Contains(messages.At(i), []byte("tool_use")) {
			continue
		}
		wire.View(messages.At(i)).Get("content").ForEach(func(_, part gjson.Result) bool {
			if part.Get("type").Str == "tool_use" {
				found = append(found, key(wire.String(part.Get("id"))))
			}
			return true
		})
	}
	return found
}

// restore implements [wire.Tooling].Restore.
func restore(body jsonedit.Object, kept map[string][]byte) []jsonedit.Edit {
	var edits []jsonedit.Edit
	messages := body.Elements("messages")
	for i := 0; i+1 < messages.Len(); i++ {
		turn, ok := keptOf(messages.At(i), kept)
		if !ok {
			continue
		}
		calls, calledIn := withCalls(messages, i, turn)
		results, answered := withResults(messages, i+1, turn)
		if calledIn && answered {
			edits = append(append(edits, calls...), results...)
		}
	}
	return edits
}

// keptOf returns what was kept of the turn that a message shows.
func keptOf(message []byte, kept map[string][]byte) (turn wire.KeptTurn, found bool) {
	if !bytes.Contains(message, []byte("tool_use")) {
		return turn, false
	}
	wire.View(message).Get("content").ForEach(func(_, part gjson.Result) bool {
		if part.Get("type").Str != "tool_use" {
			return true
		}
		id := wire.String(part.Get("id"))
		encoded, ok := kept[key(id)]
		if !ok {
			return true
		}
		candidate, ok := wire.DecodeTurn(encoded)
		if !ok || candidate.Checks[id] != wire.CallCheck(wire.String(part.Get("name")), part.Get("input").Raw) {
			return true
		}
		turn, found = candidate, len(candidate.Rounds) > 0
		return !found
	})
	return turn, found
}

// withCalls returns the edits that put the gateway's calls into the message of the model's at position i. A message that
// has the blocks which the client was sent is divided into the rounds as they were. In any other one, the rounds before
// the last stand in front of the message.
func withCalls(messages jsonedit.Array, i int, turn wire.KeptTurn) ([]jsonedit.Edit, bool) {
	start, _ := messages.Place(i)
	message := wire.View(messages.At(i))
	content := message.Get("content")
	if message.Get("role").Str != "assistant" || !content.IsArray() {
		return nil, false
	}
	blocks := content.Array()
	seen, first := 0, -1
	for at, block := range blocks {
		if !isBlank(block) {
			seen++
		}
		if first < 0 && block.Get("type").Str == "tool_use" && turn.Checks[wire.String(block.Get("id"))] != "" {
			first = at
		}
	}
	total := 0
	for _, round := range turn.Rounds {
		total += round.Seen
	}
	between := divisions(message)
	last := turn.Rounds[len(turn.Rounds)-1]
	var written []byte
	if seen == total {
		written = divided(blocks, turn, between)
	} else {
		written = undivided(blocks, last, first)
	}
	from, to := blocks[0].Index, blocks[len(blocks)-1].Index+len(blocks[len(blocks)-1].Raw)
	edits := []jsonedit.Edit{{Start: start + from, End: start + to, New: written}}
	if seen != total {
		for _, round := range slices.Backward(turn.Rounds[:len(turn.Rounds)-1]) {
			edits = slices.Insert(edits, 0, jsonedit.Edit{Start: start, End: start, New: asMessages(round)})
		}
	}
	return edits, true
}

// isBlank reports whether a block is a text that says nothing: clients do not send these back.
func isBlank(block gjson.Result) bool {
	return block.Get("type").Str == "text" && len(bytes.TrimSpace([]byte(block.Get("text").Str))) == 0
}

// division is what stands between the rounds in one message of the client's: before the results of a round and behind them.
type division struct{ end, begin []byte }

// divisions returns the division of a message, whose role may stand before its content or behind it.
func divisions(message gjson.Result) division {
	d := division{end: []byte(`]},{"role":"user","content":[`), begin: []byte(`]},{"role":"assistant","content":[`)}
	if message.Get("role").Index > message.Get("content").Index {
		d.end = []byte(`],"role":"assistant"},{"role":"user","content":[`)
		d.begin = []byte(`]},{"content":[`)
	}
	return d
}

// divided returns the content of a message with the calls, divided into rounds. Blank texts stay where they are.
func divided(blocks []gjson.Result, turn wire.KeptTurn, between division) []byte {
	var written []byte
	separate := func() {
		if n := len(written); n > 0 && written[n-1] != '[' {
			written = append(written, ',')
		}
	}
	at := 0
	for n, round := range turn.Rounds {
		calls := round.Calls
		isLast := n == len(turn.Rounds)-1
		for seen := 0; ; {
			for len(calls) > 0 && calls[0].At == seen {
				separate()
				written = append(written, calls[0].Call...)
				calls = calls[1:]
			}
			if at == len(blocks) || seen == round.Seen && !isLast {
				break
			}
			separate()
			written = append(written, blocks[at].Raw...)
			if !isBlank(blocks[at]) {
				seen++
			}
			at++
		}
		if !isLast {
			written = append(written, between.end...)
			written = append(append(written, joined(round.Results)...), between.begin...)
		}
	}
	return written
}

// undivided returns the content of a message with the last round's calls before the client's first one.
func undivided(blocks []gjson.Result, last wire.KeptRound, first int) []byte {
	var all [][]byte
	for at, block := range blocks {
		if at == first {
			for _, call := range last.Calls {
				all = append(all, call.Call)
			}
		}
		all = append(all, []byte(block.Raw))
	}
	return jsonedit.Join(all...)
}

// asMessages returns the messages of a round of which the client's message has the rest.
func asMessages(round wire.KeptRound) []byte {
	var calls [][]byte
	for _, call := range round.Calls {
		calls = append(calls, call.Call)
	}
	return slices.Concat(
		[]byte(`{"role":"assistant","content":[`), jsonedit.Join(calls...),
		[]byte(`]},{"role":"user","content":[`), joined(round.Results), []byte(`]},`),
	)
}

// withResults returns the edits that put the last round's results before the client's, in the message at position i.
func withResults(messages jsonedit.Array, i int, turn wire.KeptTurn) ([]jsonedit.Edit, bool) {
	message := wire.View(messages.At(i))
	content := message.Get("content")
	results := turn.Rounds[len(turn.Rounds)-1].Results
	if len(results) == 0 {
		return nil, true
	}
	answers := false
	content.ForEach(func(_, part gjson.Result) bool {
		answers = answers || part.Get("type").Str == "tool_result" && turn.Checks[wire.String(part.Get("tool_use_id"))] != ""
		return true
	})
	if message.Get("role").Str != "user" || !content.IsArray() || !answers {
		return nil, false
	}
	start, _ := messages.Place(i)
	at := start + content.Array()[0].Index
	return []jsonedit.Edit{{Start: at, End: at, New: append(joined(results), ',')}}, true
}

func joined[T ~[]byte](values []T) []byte {
	all := make([][]byte, len(values))
	for i, value := range values {
		all[i] = value
	}
	return jsonedit.Join(all...)
}
