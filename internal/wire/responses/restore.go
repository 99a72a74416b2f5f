package responses

import (
	"bytes"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// restore implements [wire.Tooling].Restore. An id of an answer becomes that of its last round. Where the client sends its
// call again, all rounds are put around it; where it sends only the result, the provider knows the calls and needs the
// gateway's results of the last round.
func restore(body jsonedit.Object, kept map[string][]byte) []jsonedit.Edit {
	if len(kept) == 0 {
		return nil
	}
	r := restoring{items: body.Elements("input"), kept: kept, sent: map[string]bool{}, referred: map[string]string{}}
	r.read()
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
	sent  map[string]bool // The ids of the calls that the client sends, or refers to.
	// referred are the ids of the calls that the client only refers to, by those of their items.
	referred map[string]string
}

// read reads which calls the client sends. What one refers to that is not sent is told by what was kept for its result.
func (r *restoring) read() {
	var references []string
	for i := range r.items.Len() {
		item := wire.View(r.items.At(i))
		switch kind := item.Get("type").Str; {
		case isCall(kind):
			r.sent[callIDOf(item)] = true
		case kind == "item_reference":
			references = append(references, wire.String(item.Get("id")))
		case isResult(item) && len(references) > 0:
			id := callIDOf(item)
			turn, _ := decode(r.kept[callKey(id)])
			for _, mark := range marksOf(turn) {
				if isCall(mark.Kind) && mark.Content == id && mark.ID != "" && slices.Contains(references, mark.ID) {
					r.referred[mark.ID], r.sent[id] = id, true
				}
			}
		}
	}
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
		id, isReferred := r.callAt(item)
		if id == "" || done[id] {
			continue
		}
		turn, ok := decode(r.kept[callKey(id)])
		if !ok || !isReferred && turn.Checks[id] != check(item) {
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

// callAt returns the id of the call that an item is, or refers to, or "".
func (r *restoring) callAt(item gjson.Result) (id string, isReferred bool) {
	switch kind := item.Get("type").Str; {
	case kind == "item_reference":
		return r.referred[wire.String(item.Get("id"))], true
	case isCall(kind):
		return callIDOf(item), false
	}
	return "", false
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
	marks := marksOf(turn)
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

// callFor returns a call as it is put back behind items of its round. It goes by its id where the reasoning does that it
// came with. Otherwise its id is only good beside that, if the client sends it with its id.
func (r *restoring) callFor(call []byte, marks []mark, at []int) []byte {
	isKnown, isReferred := false, false
	for i, mark := range marks {
		if mark.Kind != "reasoning" {
			continue
		}
		if isKnown = at[i] >= 0; !isKnown {
			break
		}
		sent := wire.View(r.items.At(at[i]))
		isReferred = sent.Get("type").Str == "item_reference"
		if isKnown = sent.Get("id").Type == gjson.String; !isKnown {
			break
		}
	}
	object, err := jsonedit.Parse(call)
	id, hasID := object.Get("id")
	switch {
	case err != nil || !hasID:
		return call
	case !isKnown:
		return spliced(object, object.Without("id"))
	case isReferred:
		return slices.Concat([]byte(`{"type":"item_reference","id":`), id, []byte{'}'})
	}
	return call
}

// find returns the position of each marked item in the input, or -1, and that of the last one. The items of a turn stand
// side by side, but for the results of its calls.
func (r *restoring) find(marks []mark, i int, turn wire.KeptTurn) (at []int, end int) {
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
	for before := len(marks); i >= 0 && belongs(i); i-- {
		sent := markOf(wire.View(r.items.At(i)))
		for n := before - 1; n >= 0; n-- {
			if marks[n].tells(sent) {
				before, at[n], end = n, i, max(end, i)
				break
			}
		}
	}
	return at, end
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
