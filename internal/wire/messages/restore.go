package messages

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// callKey returns the key under which the turn with a call is kept. The message with the call stands at that place.
func callKey(id, name string, at wire.Place) string { return wire.CallKey("messages", id, name, at) }

// thoughtKey returns the key of the turn with a thought, which comes from what only the provider can read of it. Some servers
// make that up, and always the same.
func thoughtKey(secret string, at wire.Place) string {
	const prefix = "messages:thought"
	whole := wire.PlacedKey(prefix, secret, wire.IsOwn(secret), at)
	sum := sha256.Sum256([]byte(whole))
	key := prefix + ":" + base64.RawURLEncoding.EncodeToString(sum[:18])
	if strings.HasSuffix(whole, wire.PlaceMark) {
		key += wire.PlaceMark
	}
	return key
}

func keyOf(call gjson.Result, at wire.Place) string {
	return callKey(wire.String(call.Get("id")), wire.String(call.Get("name")), at)
}

// keys implements [wire.Tooling].Keys. The results that came last are those of the model's last message.
func keys(body jsonedit.Object, from int) []string {
	var found []string
	messages, at := body.Elements("messages"), beginning(body)
	isLast := true
	for at.Index = messages.Len() - 1; at.Index >= 0 && (isLast || at.Index >= from); at.Index-- {
		if message := wire.View(messages.At(at.Index)); message.Get("role").Str == "assistant" {
			found, isLast = append(found, keysOf(message, at)...), false
		}
	}
	return found
}

// length implements [wire.Tooling].Length.
func length(body jsonedit.Object) (n int, last []byte) { return wire.Last(body.Elements("messages")) }

// beginning returns the place at which a conversation begins. Its opening is read from the body when it is first asked for.
func beginning(body jsonedit.Object) wire.Place {
	return wire.Place{Opening: sync.OnceValue(func() string {
		text, _ := opening(body)
		return text
	})}
}

// keysOf returns the keys of a message of the model's at that place: those of its calls, and that of its last thought. One that only
// its place tells has one more before it, by what the message says.
func keysOf(message gjson.Result, at wire.Place) []string {
	var found []string
	said := sync.OnceValue(func() *wire.Said { return saidIn(message) })
	for _, call := range callsOf(message) {
		found = wire.AppendKeys(found, keyOf(call, at), said)
	}
	if !strings.Contains(message.Raw, "thinking") {
		return found
	}
	secret := ""
	message.Get("content").ForEach(func(_, block gjson.Result) bool {
		if isThought(block.Get("type").Str) {
			secret = cmp.Or(secretOf(block), secret)
		}
		return true
	})
	if secret != "" {
		found = wire.AppendKeys(found, thoughtKey(secret, at), said)
	}
	return found
}

// saidIn returns what a message of the model's says, as its client sends it.
func saidIn(message gjson.Result) *wire.Said {
	var said wire.Said
	message.Get("content").ForEach(func(_, block gjson.Result) bool {
		switch block.Get("type").Str {
		case "text":
			said.AddText(block.Get("text").String())
		case "tool_use":
			said.AddCall(wire.String(block.Get("name")), block.Get("input").Raw)
		}
		return true
	})
	return &said
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

// restore implements [wire.Tooling].Restore. A request that can have no tools gets no calls. If several messages show the same
// turn, the last one is meant.
func restore(body jsonedit.Object, kept map[string][]byte) []jsonedit.Edit {
	if len(kept) == 0 || body.Elements("tools").Len() == 0 && !isFree(body) {
		return nil
	}
	var edits []jsonedit.Edit
	messages, at := body.Elements("messages"), beginning(body)
	done := map[string]bool{}
	for at.Index = messages.Len() - 1; at.Index >= 0; at.Index-- {
		message := wire.View(messages.At(at.Index))
		if message.Get("role").Str != "assistant" || !message.Get("content").IsArray() {
			continue
		}
		keys := keysOf(message, at)
		turn, ok := keptOf(message, at, kept, slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return done[key] }))
		if !ok {
			continue
		}
		start, _ := messages.Place(at.Index)
		calls, calledIn := withCalls(message, start, turn)
		results, answered := withResults(messages, at, turn)
		if calledIn && answered {
			edits = append(append(edits, calls), results...)
			for _, key := range keys {
				done[key] = true
			}
		}
	}
	return edits
}

// keptOf returns what was kept under one of the keys of the turn that the message at that place shows.
func keptOf(message gjson.Result, at wire.Place, kept map[string][]byte, keys []string) (turn wire.KeptTurn, found bool) {
	for _, key := range keys {
		turn, ok := wire.DecodeTurn(kept[key])
		if !ok || len(turn.Rounds) == 0 || slices.ContainsFunc(turn.Rounds, isDamaged) {
			continue
		}
		if isPlaced := strings.HasSuffix(key, wire.PlaceMark); isPlaced && turn.SaysOther(saidIn(message)) {
			continue
		}
		isOf := func(call gjson.Result) bool { return isCallOf(turn, call, at) }
		if strings.HasPrefix(key, "messages:thought:") || slices.ContainsFunc(callsOf(message), isOf) {
			return turn, true
		}
	}
	return wire.KeptTurn{}, false
}

// isDamaged reports whether not each call of a round has its result.
func isDamaged(round wire.KeptRound) bool {
	if len(round.Calls) != len(round.Results) {
		return true
	}
	for i, call := range round.Calls {
		id := wire.View(call.Call).Get("id")
		if id.Type != gjson.String || wire.String(wire.View(round.Results[i]).Get("tool_use_id")) != wire.String(id) {
			return true
		}
	}
	return false
}

// isCallOf reports whether a call at that place is one of the client's that a turn has.
func isCallOf(turn wire.KeptTurn, call gjson.Result, at wire.Place) bool {
	check, ok := turn.Checks[keyOf(call, at)]
	return ok && check == wire.CallCheck(wire.String(call.Get("name")), call.Get("input").Raw)
}

// withCalls returns the edit that puts the gateway's calls into a message of the model's, which begins at offset start and is
// divided into the rounds as they were. It fails if the message has become one that they cannot be put into.
func withCalls(message gjson.Result, start int, turn wire.KeptTurn) (jsonedit.Edit, bool) {
	blocks := message.Get("content").Array()
	last := turn.Rounds[len(turn.Rounds)-1]
	for _, block := range callsOf(message) {
		if slices.ContainsFunc(last.Calls, func(call wire.KeptCall) bool {
			return wire.String(wire.View(call.Call).Get("id")) == wire.String(block.Get("id"))
		}) {
			return jsonedit.Edit{}, false // Their results could not be told apart.
		}
	}
	marks, sound := marksOf(turn)
	if !sound {
		return jsonedit.Edit{}, false
	}
	at, ok := find(blocks, marks)
	if !ok {
		return jsonedit.Edit{}, false
	}
	written, ok := divided(blocks, at, turn, divisions(message))
	from, to := blocks[0].Index, blocks[len(blocks)-1].Index+len(blocks[len(blocks)-1].Raw)
	return jsonedit.Edit{Start: start + from, End: start + to, New: written}, ok
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

// divided returns the content of a message with the calls, divided into rounds. At says which of the marks each block has. A
// block without a mark stays behind the one before it. It fails if a round would be empty.
func divided(blocks []gjson.Result, at []int, turn wire.KeptTurn, between division) ([]byte, bool) {
	var written []byte
	n, from := 0, 0
	for i, round := range turn.Rounds {
		var all [][]byte
		calls := round.Calls
		to := from + round.Seen
		for ; n < len(blocks) && at[n] < to; n++ {
			for len(calls) > 0 && at[n] >= from+calls[0].At {
				all = append(all, calls[0].Call)
				calls = calls[1:]
			}
			all = append(all, []byte(blocks[n].Raw))
		}
		for _, call := range calls {
			all = append(all, call.Call)
		}
		if len(all) == 0 {
			return nil, false
		}
		written = append(written, jsonedit.Join(all...)...)
		if i == len(turn.Rounds)-1 {
			break
		}
		if len(round.Results) == 0 {
			return nil, false
		}
		written = slices.Concat(written, between.end, joined(round.Results), between.begin)
		from = to
	}
	return written, true
}

// withResults returns the edits that put the last round's results before the client's, in the message behind that place.
func withResults(messages jsonedit.Array, at wire.Place, turn wire.KeptTurn) ([]jsonedit.Edit, bool) {
	results := turn.Rounds[len(turn.Rounds)-1].Results
	if len(results) == 0 {
		return nil, true
	}
	if at.Index+1 == messages.Len() {
		return nil, false
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
