package chat

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// longestKeyed is how many bytes a call's id may have for something to be kept under it.
const longestKeyed = 512

// keptKey returns the key under which the turn with a call of the client's is kept, or "" if there can be none. The message
// with the call stands at that place.
func keptKey(id, name string, at wire.Place) string {
	if id == "" || len(id) > longestKeyed {
		return ""
	}
	return wire.CallKey("chat", id, name, at)
}

// keyOf returns the key of a call in a message at that place.
func keyOf(call gjson.Result, at wire.Place) string {
	return keptKey(wire.String(call.Get("id")), toolName(call), at)
}

// beginning returns the place at which a conversation begins. Its opening is read from the body when it is first asked for.
func beginning(body jsonedit.Object) wire.Place {
	return wire.Place{Opening: sync.OnceValue(func() string {
		text, _ := opening(body)
		return text
	})}
}

// saidIn returns what a message of the model's says, as its client sends it.
func saidIn(message gjson.Result) *wire.Said {
	var said wire.Said
	addContent(&said, message.Get("content"))
	message.Get("tool_calls").ForEach(func(_, call gjson.Result) bool {
		said.AddCall(calledIn(call))
		return true
	})
	return &said
}

// addContent adds the texts of a message's content.
func addContent(said *wire.Said, content gjson.Result) {
	if content.Type == gjson.String {
		said.AddText(content.Str)
	}
	if content.IsArray() {
		content.ForEach(func(_, part gjson.Result) bool {
			said.AddText(part.Get("text").String())
			return true
		})
	}
}

// keys returns the keys of the calls to which a request has results. Those that came last stand behind the model's last
// message. A call that only its place tells has one more before it, by what the message says.
func keys(body jsonedit.Object, from int) []string {
	messages, at := body.Elements("messages"), beginning(body)
	var found []string
	answered, isLast := map[string]bool{}, true
	for at.Index = messages.Len() - 1; at.Index >= 0 && (isLast || at.Index >= from); at.Index-- {
		message := wire.View(messages.At(at.Index))
		switch message.Get("role").Str {
		case "tool":
			answered[wire.String(message.Get("tool_call_id"))] = true
		case "assistant":
			said := sync.OnceValue(func() *wire.Said { return saidIn(message) })
			message.Get("tool_calls").ForEach(func(_, call gjson.Result) bool {
				key := keyOf(call, at)
				if key == "" || !answered[wire.String(call.Get("id"))] {
					return true
				}
				found = wire.AppendKeys(found, key, said)
				return true
			})
			isLast = false
			clear(answered)
		}
	}
	return found
}

// length implements [wire.Tooling].Length.
func length(body jsonedit.Object) (n int, last []byte) { return wire.Last(body.Elements("messages")) }

// restore puts what was kept around and into the messages that have the calls by whose ids it was kept. If several messages
// have the same call, the last one is meant.
func restore(body jsonedit.Object, kept map[string][]byte) []jsonedit.Edit {
	if len(kept) == 0 {
		return nil
	}
	r := restoring{messages: body.Elements("messages"), at: beginning(body), kept: kept, done: map[string]bool{}}
	for r.at.Index = r.messages.Len() - 1; r.at.Index >= 0; r.at.Index-- {
		if message := r.messages.At(r.at.Index); wire.View(message).Get("role").Str == "assistant" {
			r.restore(message)
		}
	}
	return r.edits
}

type restoring struct {
	messages jsonedit.Array
	at       wire.Place // The message.
	kept     map[string][]byte
	done     map[string]bool // The keys whose message was found.
	edits    []jsonedit.Edit
}

// restore puts what was kept of the message back, if anything was.
func (r *restoring) restore(message []byte) {
	object, err := jsonedit.Parse(message)
	if err != nil {
		return
	}
	calls := object.Elements("tool_calls")
	turn, found := r.find(calls, sync.OnceValue(func() *wire.Said { return saidIn(wire.View(message)) }))
	if !found || r.clashes(calls, turn) {
		return
	}
	start, end := r.messages.Place(r.at.Index)
	var before, behind, last []byte
	rest := divided{message: object, left: map[string]string{}}
	for _, round := range turn.Rounds {
		results, images := split(round.Results)
		if round.Seen == 0 {
			before = append(appendRound(before, round, rest.takeRound(round)), ',')
			continue
		}
		r.insertCalls(calls, start, round)
		for _, result := range results {
			behind = append(append(behind, ','), result...)
		}
		for _, message := range images {
			last = append(append(last, ','), message...)
		}
	}
	r.insert(start, before)
	r.edits = append(r.edits, jsonedit.Moved(rest.edits(), start)...)
	r.insert(end, behind)
	_, end = r.messages.Place(r.lastResult(r.at.Index))
	r.insert(end, last)
}

func (r *restoring) insert(at int, text []byte) {
	if len(text) > 0 {
		r.edits = append(r.edits, jsonedit.Edit{Start: at, End: at, New: text})
	}
}

// insertCalls puts a round's calls among the client's, in the message that begins at offset start.
func (r *restoring) insertCalls(calls jsonedit.Array, start int, round wire.KeptRound) {
	for _, call := range round.Calls {
		if call.At < calls.Len() {
			at, _ := calls.Place(call.At)
			r.insert(start+at, append(slices.Clip(call.Call), ','))
			continue
		}
		_, at := calls.Place(calls.Len() - 1)
		r.insert(start+at, append([]byte{','}, call.Call...))
	}
}

// find returns what was kept of a message that says this and has these calls. It must have been kept of one of them: some servers give
// the same id to many calls. What was kept of another conversation that begins alike says something else.
func (r *restoring) find(calls jsonedit.Array, said func() *wire.Said) (turn wire.KeptTurn, found bool) {
	for i := range calls.Len() {
		call := wire.View(calls.At(i))
		key := keyOf(call, r.at)
		if r.done[key] {
			continue
		}
		encoded, isPlaced := r.kept[key], strings.HasSuffix(key, wire.PlaceMark)
		if isPlaced && len(r.kept[wire.SaidKey(key, said())]) > 0 {
			encoded = r.kept[wire.SaidKey(key, said())]
		}
		turn, ok := wire.DecodeTurn(encoded)
		if !ok || turn.Checks[key] != checkOf(call) || !slices.ContainsFunc(turn.Rounds, hasCalls) ||
			slices.ContainsFunc(turn.Rounds, isDamaged) || isPlaced && turn.SaysOther(said()) {
			continue
		}
		for key := range turn.Checks {
			r.done[key] = true
		}
		return turn, true
	}
	return turn, false
}

func checkOf(call gjson.Result) string { return callCheck(calledIn(call)) }

// calledIn returns the tool that a call calls, and the input.
func calledIn(call gjson.Result) (name, input string) {
	if custom := call.Get("custom"); custom.IsObject() {
		return wire.String(custom.Get("name")), inputText(custom.Get("input"))
	}
	function := call.Get("function")
	return wire.String(function.Get("name")), inputText(function.Get("arguments"))
}

// callCheck is wire.CallCheck for inputs of which clients write an empty one as an empty object.
func callCheck(name, input string) string {
	return wire.CallCheck(name, cmp.Or(strings.TrimSpace(input), "{}"))
}

func hasCalls(round wire.KeptRound) bool { return len(round.Calls) > 0 }

// isDamaged reports whether not each call of a round has its result.
func isDamaged(round wire.KeptRound) bool {
	results, _ := split(round.Results)
	if len(results) != len(round.Calls) || len(round.Around) > 0 && !wire.View(round.Around).IsObject() {
		return true
	}
	for i, call := range round.Calls {
		id := wire.View(call.Call).Get("id")
		if id.Type != gjson.String || wire.View(results[i]).Get("tool_call_id").Str != id.Str || call.At < 0 || call.At > round.Seen {
			return true
		}
	}
	return false
}

// clashes reports whether a call that was kept has the id of one that the message has: their results could not be told apart.
func (r *restoring) clashes(calls jsonedit.Array, turn wire.KeptTurn) bool {
	ids := map[string]bool{}
	for i := range calls.Len() {
		ids[wire.View(calls.At(i)).Get("id").Str] = true
	}
	for _, round := range turn.Rounds {
		for _, call := range round.Calls {
			if round.Seen > 0 && ids[wire.View(call.Call).Get("id").Str] {
				return true
			}
		}
	}
	return false
}

// split tells the results of calls from the message with their images.
func split(messages [][]byte) (results, images [][]byte) {
	for _, message := range messages {
		if wire.View(message).Get("role").Str == "tool" {
			results = append(results, message)
		} else {
			images = append(images, message)
		}
	}
	return results, images
}

// appendRound appends the messages of a round in which only tools of the gateway were called, and what it said.
func appendRound(dst []byte, round wire.KeptRound, content []byte) []byte {
	dst = append(append(dst, `{"role":"assistant","content":`...), content...)
	if len(round.Around) > len(`{}`) {
		dst = append(append(dst, ','), round.Around[1:len(round.Around)-1]...)
	}
	dst = appendCalls(dst, round.Calls)
	for _, message := range round.Results {
		dst = append(append(dst, ','), message...)
	}
	return dst
}

// lastResult returns the place of the last of the results that follow the i-th message.
func (r *restoring) lastResult(i int) int {
	for i+1 < r.messages.Len() && wire.View(r.messages.At(i+1)).Get("role").Str == "tool" {
		i++
	}
	return i
}
