package responses

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// callKey is the key of what was kept of the answer with a call of the client's, answerKey that of an answer by its id.
func callKey(callID string) string { return "responses:" + callID }
func answerKey(id string) string   { return "response:" + id }

// Kept implements [wire.Joint]. A client may go on with the answer by its id, even if it was not asked for anything.
func (j *joint) Kept() wire.ToKeep {
	rounds := append(j.before[:len(j.before):len(j.before)], j.now)
	status := j.now.status
	if len(j.before) == 0 && len(j.now.results) == 0 || status != "completed" && status != "incomplete" || j.now.err() != nil {
		return wire.ToKeep{}
	}
	turn := wire.KeptTurn{Checks: map[string]string{}, Last: memberString(j.now.id)}
	var keep wire.ToKeep
	for _, round := range rounds {
		turn.Rounds = append(turn.Rounds, round.kept())
	}
	all := j.now.list()
	for _, item := range all {
		if isClients(item, all) {
			keep.Keys = append(keep.Keys, callKey(item.callID))
			turn.Checks[item.callID] = check(item.value)
		}
	}
	first := j.first.ids["id"]
	if len(j.before) == 0 {
		first = j.now.id
	}
	if id := memberString(first); id != "" {
		keep.Keys = append(keep.Keys, answerKey(id))
	}
	if len(keep.Keys) > 0 {
		keep.Turn = turn.Encode()
	}
	return keep
}

// memberString returns the text of a JSON string, or "".
func memberString(raw []byte) string { return wire.Kept(wire.View(raw)) }

// kept returns what is kept of the round. What stands around the calls are the marks of the items that the client has seen.
func (r *round) kept() wire.KeptRound {
	var kept wire.KeptRound
	var marks []string
	for _, item := range r.list() {
		switch {
		case !item.ours:
			marks = append(marks, mark(item.value))
		case len(kept.Calls) < len(r.results):
			kept.Calls = append(kept.Calls, wire.KeptCall{At: len(marks), Call: item.raw})
			kept.Results = append(kept.Results, r.results[len(kept.Results)])
		}
	}
	kept.Seen = len(marks)
	kept.Around, _ = json.Marshal(marks) // Strings can always be encoded.
	return kept
}

// check returns a text that is the same for the same call.
func check(call gjson.Result) string {
	return wire.CallCheck(cmp.Or(wire.String(call.Get("name")), call.Get("type").Str), input(call))
}

// reasoningMark begins the marks of reasoning.
const reasoningMark = "reasoning "

// mark returns a text by which an item that a client sends again is recognised.
func mark(item gjson.Result) string {
	kind := item.Get("type").Str
	switch id := callIDOf(item); {
	case isCall(kind) && id != "":
		return "call " + id
	case kind == "reasoning":
		return reasoningMark + wire.CallCheck(kind, cmp.Or(wire.String(item.Get("encrypted_content")), wire.String(item.Get("id"))))
	case kind == "" || kind == "message":
		text := contentText(item)
		if content := item.Get("content"); content.Type == gjson.String {
			text = content.Str
		}
		return wire.CallCheck("message", text)
	default:
		return wire.CallCheck(kind, input(item))
	}
}

// keys implements [wire.Tooling].Keys.
func keys(body jsonedit.Object, whole bool) []string {
	var found []string
	if id := memberText(body, "previous_response_id"); id != "" {
		found = append(found, answerKey(strings.Clone(id)))
	}
	items := body.Elements("input")
	for i := items.Len() - 1; i >= 0; i-- {
		item := wire.View(items.At(i))
		if isResult(item) {
			if id := callIDOf(item); id != "" && !slices.Contains(found, callKey(id)) {
				found = append(found, callKey(id))
			}
		} else if !whole {
			break
		}
	}
	return found
}

// isResult reports whether an input item is the result of a call.
func isResult(item gjson.Result) bool {
	kind := item.Get("type").Str
	return strings.HasSuffix(kind, "_output") || kind == "mcp_approval_response"
}

// restore implements [wire.Tooling].Restore. An id of an answer becomes that of its last round. Where the client sends its
// call again, all rounds are put around it; where it sends only the result, the provider knows the calls and needs the
// gateway's results of the last round.
func restore(body jsonedit.Object, kept map[string][]byte) []jsonedit.Edit {
	if len(kept) == 0 {
		return nil
	}
	r := restoring{items: body.Elements("input"), kept: kept, sent: map[string]bool{}}
	for i := range r.items.Len() {
		if item := wire.View(r.items.At(i)); isCall(item.Get("type").Str) {
			r.sent[callIDOf(item)] = true
		}
	}
	edits := r.aroundCalls()
	previous := memberText(body, "previous_response_id")
	encoded := kept[answerKey(previous)]
	if turn, ok := decode(encoded); ok && previous != "" && turn.Last != "" && turn.Last != previous {
		edits = append(edits, body.Set("previous_response_id", appendText(nil, turn.Last)))
	}
	if previous != "" || wire.Has(body, "conversation") {
		edits = append(edits, r.beforeResults(previous != "", encoded)...)
	}
	return edits
}

// restoring is a request that something is put back into.
type restoring struct {
	items jsonedit.Array
	kept  map[string][]byte
	sent  map[string]bool // The ids of the calls that the client sends.
}

// decode returns what was kept, if each of its calls has a result.
func decode(encoded []byte) (wire.KeptTurn, bool) {
	if !wire.IsSound(encoded) {
		return wire.KeptTurn{}, false
	}
	turn, ok := wire.DecodeTurn(encoded)
	for _, round := range turn.Rounds {
		ok = ok && len(round.Calls) == len(round.Results)
		for i := 0; ok && i < len(round.Calls); i++ {
			call, result := wire.View(round.Calls[i].Call), wire.View(round.Results[i])
			ok = call.Get("type").Str == "function_call" && result.Get("type").Str == "function_call_output" &&
				callIDOf(result) != "" && wire.String(call.Get("call_id")) == callIDOf(result)
		}
	}
	return turn, ok && len(turn.Rounds) > 0
}

// aroundCalls returns the edits that put the rounds around the calls that the client sends. Of calls that look the same the
// last one counts.
func (r *restoring) aroundCalls() []jsonedit.Edit {
	var edits []jsonedit.Edit
	done := map[string]bool{}
	for i := r.items.Len() - 1; i >= 0; i-- {
		item := wire.View(r.items.At(i))
		id := callIDOf(item)
		if !isCall(item.Get("type").Str) || id == "" || done[id] {
			continue
		}
		turn, ok := decode(r.kept[callKey(id)])
		if !ok || turn.Checks[id] != check(item) {
			continue
		}
		for id := range turn.Checks {
			done[id] = true
		}
		if !r.hasCallOf(turn) {
			edits = append(r.around(i, turn), edits...)
		}
	}
	return edits
}

// hasCallOf reports whether the client sends a call with the id of one that would be put back.
func (r *restoring) hasCallOf(turn wire.KeptTurn) bool {
	for _, round := range turn.Rounds {
		for _, call := range round.Calls {
			if r.sent[callIDOf(wire.View(call.Call))] {
				return true
			}
		}
	}
	return false
}

// around returns the edits that put the rounds of a turn among the items of it that the client sends, which are those
// around the call at position i, or nothing if they are not to be recognised.
func (r *restoring) around(i int, turn wire.KeptTurn) []jsonedit.Edit {
	var marks []string
	for _, round := range turn.Rounds {
		var some []string
		if json.Unmarshal(round.Around, &some) != nil || len(some) != round.Seen {
			return nil
		}
		marks = append(marks, some...)
	}
	at, end := r.find(marks, i, turn)
	if end < 0 {
		return nil
	}
	var edits []jsonedit.Edit
	put := func(seen int, text []byte) {
		for ; seen < len(marks); seen++ {
			if at[seen] >= 0 {
				start, _ := r.items.Place(at[seen])
				edits = append(edits, jsonedit.Edit{Start: start, End: start, New: slices.Concat(text, []byte{','})})
				return
			}
		}
		_, behind := r.items.Place(end)
		edits = append(edits, jsonedit.Edit{Start: behind, End: behind, New: slices.Concat([]byte{','}, text)})
	}
	before := 0
	for _, round := range turn.Rounds {
		for _, call := range round.Calls {
			seen := before + min(max(call.At, 0), round.Seen)
			put(seen, r.callFor(call.Call, marks[before:seen], at[before:seen]))
		}
		before += round.Seen
		for _, result := range round.Results {
			put(before, result)
		}
	}
	return edits
}

// callFor returns a call as it is put back behind items of its round. Its id is only good beside the reasoning that it came
// with, if the client sends that with its id.
func (r *restoring) callFor(call []byte, marks []string, at []int) []byte {
	isKnown := false
	for i, mark := range marks {
		if strings.HasPrefix(mark, reasoningMark) {
			if isKnown = at[i] >= 0 && wire.View(r.items.At(at[i])).Get("id").Type == gjson.String; !isKnown {
				break
			}
		}
	}
	object, err := jsonedit.Parse(call)
	if isKnown || err != nil {
		return call
	}
	return spliced(object, object.Without("id"))
}

// find returns the position of each marked item in the input, or -1, and that of the last one. The items of a turn stand
// side by side, but for the results of its calls.
func (r *restoring) find(marks []string, i int, turn wire.KeptTurn) (at []int, end int) {
	at, end = make([]int, len(marks)), -1
	for n := range at {
		at[n] = -1
	}
	belongs := func(i int) bool {
		item := wire.View(r.items.At(i))
		id := callIDOf(item)
		if isResult(item) || isCall(item.Get("type").Str) && id != "" {
			return turn.Checks[id] != ""
		}
		return isOfModel(item)
	}
	for i+1 < r.items.Len() && belongs(i+1) && !isResult(wire.View(r.items.At(i+1))) {
		i++
	}
	for next := len(marks); i >= 0 && belongs(i); i-- {
		found := slices.Index(reversed(marks[:next]), mark(wire.View(r.items.At(i))))
		if found < 0 {
			continue
		}
		next -= found + 1
		at[next] = i
		end = max(end, i)
	}
	return at, end
}

func reversed(marks []string) []string {
	turned := slices.Clone(marks)
	slices.Reverse(turned)
	return turned
}

// beforeResults returns the edits that put the last round's results before those of the client's. IsChained says that the
// request names the answer, of which encoded was kept.
func (r *restoring) beforeResults(isChained bool, encoded []byte) []jsonedit.Edit {
	for i := range r.items.Len() {
		item := wire.View(r.items.At(i))
		id := callIDOf(item)
		if !isResult(item) || id == "" || r.sent[id] {
			continue
		}
		of := r.kept[callKey(id)]
		turn, ok := decode(of)
		if !ok || turn.Checks[id] == "" || isChained && !bytes.Equal(of, encoded) {
			continue
		}
		results := turn.Rounds[len(turn.Rounds)-1].Results
		start, _ := r.items.Place(i)
		var edits []jsonedit.Edit
		for _, result := range results {
			edits = append(edits, jsonedit.Edit{Start: start, End: start, New: slices.Concat(result, []byte{','})})
		}
		return edits
	}
	return nil
}
