package responses

import (
	"maps"
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
	r := newRestoring(body.Elements("input"), kept)
	edits := r.aroundItems()
	previous := memberText(body, "previous_response_id")
	chained := r.turns[string(kept[answerKey(previous)])]
	switch {
	case previous == "":
		if wire.Has(body, "conversation") {
			edits = append(edits, r.beforeResults(nil)...)
		}
	case chained != nil:
		edits = append(edits, r.beforeResults(chained)...)
		if chained.Last != "" && chained.Last != previous {
			edits = append(edits, body.Set("previous_response_id", appendText(nil, chained.Last)))
		}
	}
	return edits
}

// restoring is a request that something is put back into.
type restoring struct {
	items jsonedit.Array
	turns map[string]*keptTurn // By their encoded form: a turn is found under several keys.
	// byCall are the turns with a call of the client's by its id, that which was kept for the id first: there are servers
	// that give the same id to many calls. byItem are they by the ids of the calls' items, byReasoning by what is in them.
	byCall, byItem, byReasoning map[string][]*keptTurn
	sent                        map[string]bool // The ids of the calls that the client sends, or refers to.
	claimed                     map[int]bool    // The positions of the items of turns that have been put back.
}

// keptTurn is a turn that was kept.
type keptTurn struct {
	wire.KeptTurn
	marks []mark // Of all that the client has seen.
	done  bool   // It has been put back.
}

func newRestoring(items jsonedit.Array, kept map[string][]byte) *restoring {
	r := &restoring{
		items: items, turns: map[string]*keptTurn{}, sent: map[string]bool{}, claimed: map[int]bool{},
		byCall: map[string][]*keptTurn{}, byItem: map[string][]*keptTurn{}, byReasoning: map[string][]*keptTurn{},
	}
	keys := slices.Sorted(maps.Keys(kept))
	for _, key := range keys {
		if r.turns[string(kept[key])] != nil {
			continue
		}
		decoded, ok := decode(kept[key])
		if !ok {
			continue
		}
		turn := &keptTurn{KeptTurn: decoded, marks: marksOf(decoded)}
		r.turns[string(kept[key])] = turn
		for id := range turn.Checks {
			if own := r.turns[string(kept[callKey(id)])]; own == turn {
				r.byCall[id] = slices.Insert(r.byCall[id], 0, turn)
			} else {
				r.byCall[id] = append(r.byCall[id], turn)
			}
		}
		for _, mark := range turn.marks {
			switch {
			case isCall(mark.Kind) && mark.ID != "" && turn.Checks[mark.Content] != "":
				r.byItem[mark.ID] = append(r.byItem[mark.ID], turn)
			case mark.Kind == "reasoning" && mark.Content != "":
				r.byReasoning[mark.Content] = append(r.byReasoning[mark.Content], turn)
			}
		}
	}
	for i := range items.Len() {
		item := wire.View(items.At(i))
		switch kind := item.Get("type").Str; {
		case isCall(kind):
			r.sent[callIDOf(item)] = true
		case kind == "item_reference":
			for _, turn := range r.byItem[wire.String(item.Get("id"))] {
				for id := range turn.Checks {
					r.sent[id] = true
				}
			}
		}
	}
	return r
}

// decode returns what was kept, if each of its calls has a result. It may have no rounds, and only say which answer an id
// stands for.
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
	return turn, ok
}

// aroundItems returns the edits that put the rounds around the calls, and the reasoning, that the client sends.
func (r *restoring) aroundItems() []jsonedit.Edit {
	var edits []jsonedit.Edit
	for i := r.items.Len() - 1; i >= 0; i-- {
		if turn := r.turnAt(i); turn != nil && !r.hasCallOf(turn) {
			turn.done = true
			edits = append(r.around(i, turn), edits...)
		}
	}
	return edits
}

// turnAt returns the turn that has the call or the reasoning at position i of the input, if it must still be put back, or nil.
func (r *restoring) turnAt(i int) *keptTurn {
	item := wire.View(r.items.At(i))
	kind, id := item.Get("type").Str, callIDOf(item)
	isSure := !isCall(kind)
	var turns []*keptTurn
	switch {
	case r.claimed[i]:
	case kind == "item_reference":
		turns = r.byItem[wire.String(item.Get("id"))]
	case kind == "reasoning":
		turns = r.byReasoning[markOf(item).Content]
	case !isSure:
		turns = r.byCall[id]
	}
	for _, turn := range turns {
		if !turn.done && (isSure || turn.Checks[id] == check(item)) {
			return turn
		}
	}
	return nil
}

// hasCallOf reports whether the client sends a call with the id of one that would be put back.
func (r *restoring) hasCallOf(turn *keptTurn) bool {
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
// around that at position i, or nothing if they are not to be recognised.
func (r *restoring) around(i int, turn *keptTurn) []jsonedit.Edit {
	marks := turn.marks
	at, end := r.find(i, turn)
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
func (r *restoring) find(i int, turn *keptTurn) (at []int, end int) {
	at, end = make([]int, len(turn.marks)), -1
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
	for before := len(turn.marks); i >= 0 && belongs(i); i-- {
		sent := markOf(wire.View(r.items.At(i)))
		for n := before - 1; n >= 0; n-- {
			if turn.marks[n].tells(sent) {
				before, at[n], end, r.claimed[i] = n, i, max(end, i), true
				break
			}
		}
	}
	return at, end
}

// beforeResults returns the edits that put the last round's results before those of the client's. Nil: the turn is told by
// the ids of its calls alone.
func (r *restoring) beforeResults(turn *keptTurn) []jsonedit.Edit {
	for i := range r.items.Len() {
		item := wire.View(r.items.At(i))
		id := callIDOf(item)
		if !isResult(item) || id == "" || r.sent[id] {
			continue
		}
		of := turn
		if of == nil && len(r.byCall[id]) > 0 {
			of = r.byCall[id][0]
		}
		if of == nil || of.Checks[id] == "" || len(of.Rounds) == 0 {
			continue
		}
		start, _ := r.items.Place(i)
		var edits []jsonedit.Edit
		for _, result := range of.Rounds[len(of.Rounds)-1].Results {
			edits = append(edits, jsonedit.Edit{Start: start, End: start, New: slices.Concat(result, []byte{','})})
		}
		return edits
	}
	return nil
}
