package messages

import (
	"bytes"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// callKey returns the key under which the turn with a call is kept. The message with the call stands at that place.
func callKey(id, name string, at wire.Place) string { return wire.CallKey("messages", id, name, at) }

func keyOf(call gjson.Result, at wire.Place) string {
	return callKey(wire.String(call.Get("id")), wire.String(call.Get("name")), at)
}

// keys implements [wire.Tooling].Keys. The results that came last are those of the model's last message.
func keys(body jsonedit.Object, whole bool) []string {
	var found []string
	messages, at := body.Elements("messages"), beginning(body)
	for at.Index = messages.Len() - 1; at.Index >= 0; at.Index-- {
		message := wire.View(messages.At(at.Index))
		if message.Get("role").Str != "assistant" {
			continue
		}
		found = append(found, keysOf(message, at)...)
		if !whole {
			break
		}
	}
	return found
}

// beginning returns the place at which a conversation begins.
func beginning(body jsonedit.Object) wire.Place {
	text, _ := opening(body)
	return wire.Place{Opening: text}
}

// keysOf returns the keys of a message of the model's at that place.
func keysOf(message gjson.Result, at wire.Place) []string {
	var found []string
	for _, call := range callsOf(message) {
		found = append(found, keyOf(call, at))
	}
	return found
}

// callsOf returns the calls of the client's tools in a message of the model's.
func callsOf(message gjson.Result) []gjson.Result {
	if !strings.Contains(message.Raw, "tool_use") {
		return nil
	}
	var calls []gjson.Result
	message.Get("content").ForEach(func(_, block gjson.Result) bool {
		if block.Get("type").Str == "tool_use" {
			calls = append(calls, block)
		}
		return true
	})
	return calls
}

// restore implements [wire.Tooling].Restore.
func restore(body jsonedit.Object, kept map[string][]byte) []jsonedit.Edit {
	if len(kept) == 0 {
		return nil
	}
	var edits []jsonedit.Edit
	messages, at := body.Elements("messages"), beginning(body)
	for ; at.Index+1 < messages.Len(); at.Index++ {
		turn, ok := keptOf(wire.View(messages.At(at.Index)), at, kept)
		if !ok {
			continue
		}
		calls, calledIn := withCalls(messages, at, turn)
		results, answered := withResults(messages, at, turn)
		if calledIn && answered {
			edits = append(append(edits, calls...), results...)
		}
	}
	return edits
}

// keptOf returns what was kept of the turn that the message at that place shows.
func keptOf(message gjson.Result, at wire.Place, kept map[string][]byte) (turn wire.KeptTurn, found bool) {
	for _, call := range callsOf(message) {
		encoded, ok := kept[keyOf(call, at)]
		if !ok {
			continue
		}
		if turn, ok = wire.DecodeTurn(encoded); ok && len(turn.Rounds) > 0 && isCallOf(turn, call, at) {
			return turn, true
		}
	}
	return wire.KeptTurn{}, false
}

// isCallOf reports whether a call at that place is one of the client's that a turn has.
func isCallOf(turn wire.KeptTurn, call gjson.Result, at wire.Place) bool {
	check, ok := turn.Checks[keyOf(call, at)]
	return ok && check == wire.CallCheck(wire.String(call.Get("name")), call.Get("input").Raw)
}

// withCalls returns the edits that put the gateway's calls into the message of the model's at that place. A message that
// has the blocks which the client was sent is divided into the rounds as they were. In any other one, the rounds before
// the last stand in front of the message.
func withCalls(messages jsonedit.Array, at wire.Place, turn wire.KeptTurn) ([]jsonedit.Edit, bool) {
	start, _ := messages.Place(at.Index)
	message := wire.View(messages.At(at.Index))
	content := message.Get("content")
	if message.Get("role").Str != "assistant" || !content.IsArray() {
		return nil, false
	}
	blocks := content.Array()
	seen, first := 0, -1
	for n, block := range blocks {
		if !isBlank(block) {
			seen++
		}
		if first < 0 && block.Get("type").Str == "tool_use" && turn.Checks[keyOf(block, at)] != "" {
			first = n
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

// withResults returns the edits that put the last round's results before the client's, in the message behind that place.
func withResults(messages jsonedit.Array, at wire.Place, turn wire.KeptTurn) ([]jsonedit.Edit, bool) {
	results := turn.Rounds[len(turn.Rounds)-1].Results
	if len(results) == 0 {
		return nil, true
	}
	called := map[string]bool{}
	for _, call := range callsOf(wire.View(messages.At(at.Index))) {
		called[wire.String(call.Get("id"))] = isCallOf(turn, call, at)
	}
	message := wire.View(messages.At(at.Index + 1))
	content := message.Get("content")
	answers := false
	content.ForEach(func(_, part gjson.Result) bool {
		answers = answers || part.Get("type").Str == "tool_result" && called[wire.String(part.Get("tool_use_id"))]
		return true
	})
	if message.Get("role").Str != "user" || !content.IsArray() || !answers {
		return nil, false
	}
	start, _ := messages.Place(at.Index + 1)
	begin := start + content.Array()[0].Index
	return []jsonedit.Edit{{Start: begin, End: begin, New: append(joined(results), ',')}}, true
}

func joined[T ~[]byte](values []T) []byte {
	all := make([][]byte, len(values))
	for i, value := range values {
		all[i] = value
	}
	return jsonedit.Join(all...)
}
