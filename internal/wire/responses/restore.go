package responses

import (
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// restore implements [wire.Tooling].Restore. An id of an answer becomes that of its last round. Where the client sends its
// call again, all rounds are put around it; where the provider has the calls, it needs the gateway's results of the last round.
func restore(body jsonedit.Object, kept map[string][]byte) []jsonedit.Edit {
	if len(kept) == 0 {
		return nil
	}
	r := newRestoring(body, kept)
	edits := r.aroundItems()
	previous := memberText(body, "previous_response_id")
	var results [][]byte
	for _, key := range chain(body) {
		turn := r.byKey[key]
		if turn == nil {
			continue
		}
		if key == answerKey(previous) && turn.Last != "" && turn.Last != previous {
			edits = append(edits, body.Set("previous_response_id", appendText(nil, turn.Last)))
		}
		results = append(results, turn.results()...)
	}
	switch {
	case len(results) == 0:
		return edits
	case r.items.Len() == 0:
		return append(edits, asInput(body, results, nil))
	}
	return append(body.Insert("input", jsonedit.Join(results...), true), edits...)
}

// asInput returns the edit that makes an array of an input that is a text, or nothing, with items before and behind it.
func asInput(body jsonedit.Object, before, behind [][]byte) jsonedit.Edit {
	items := slices.Clone(before)
	if input, _ := body.Get("input"); wire.View(input).Type == gjson.String {
		items = append(items, slices.Concat([]byte(`{"type":"message","role":"user","content":`), input, []byte{'}'}))
	}
	items = append(items, behind...)
	return body.Set("input", slices.Concat([]byte{'['}, jsonedit.Join(items...), []byte{']'}))
}

// restoring is a request that something is put back into.
type restoring struct {
	items jsonedit.Array
	turns map[string]*keptTurn // By their encoded form: a turn is found under several keys.
	byKey map[string]*keptTurn
	// byItem are the same by the ids of the items of the client's calls, byReasoning by what is in their reasoning.
	byItem, byReasoning map[string][]*keptTurn
	keys                []string        // Of the client's calls, by their positions.
	begins              []int           // Where the items begin that the model made together, by their positions.
	sent                map[string]bool // The ids of the client's calls, each with its check.
	claimed             map[int]bool    // The positions of the items of turns that have been put back.
}

// keptTurn is a turn that was kept.
type keptTurn struct {
	wire.KeptTurn
	marks []mark // Of all that the client has seen.
	done  bool   // It has been put back.
}

// results returns the results of the last round. Of a turn that was too large for them they are lost, and with them whether the
// calls were run.
func (t *keptTurn) results() (results [][]byte) {
	if n := len(t.Rounds); n > 0 {
		return t.Rounds[n-1].Results
	}
	for _, id := range t.Open {
		results = append(results, withoutResult(id, wire.UnknownResult))
	}
	return results
}

func newRestoring(body jsonedit.Object, kept map[string][]byte) *restoring {
	items := body.Elements("input")
	r := &restoring{
		items: items, turns: map[string]*keptTurn{}, sent: map[string]bool{}, claimed: map[int]bool{}, keys: make([]string, items.Len()), begins: make([]int, items.Len()),
		byKey: map[string]*keptTurn{}, byItem: map[string][]*keptTurn{}, byReasoning: map[string][]*keptTurn{},
	}
	for _, key := range slices.Sorted(maps.Keys(kept)) {
		turn := r.turns[string(kept[key])]
		if turn == nil {
			decoded, ok := decode(kept[key])
			if !ok {
				continue
			}
			turn = &keptTurn{KeptTurn: decoded, marks: marksOf(decoded)}
			r.turns[string(kept[key])] = turn
			r.index(turn)
		}
		r.byKey[key] = turn
	}
	at := wire.Place{Opening: openingOf(body)}
	for i := range items.Len() {
		item := wire.View(items.At(i))
		if !isModels(item) {
			at.Index = i + 1
			continue
		}
		if id := callIDOf(item); id != "" && isCall(item.Get("type").Str) {
			r.sent[id+check(item)] = true
			r.keys[i], r.begins[i] = callKey(id, nameOf(item), at), at.Index
		}
	}
	return r
}

// index notes by which items of a request a turn is found.
func (r *restoring) index(turn *keptTurn) {
	for _, mark := range turn.marks {
		switch {
		case isCall(mark.Kind) && mark.ID != "" && turn.Checks[mark.Content] != "":
			r.byItem[mark.ID] = append(r.byItem[mark.ID], turn)
		case mark.Kind == "reasoning" && mark.Content != "":
			r.byReasoning[mark.Content] = append(r.byReasoning[mark.Content], turn)
		}
	}
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
		if turn := r.ofCall(i); turn != nil {
			turns = []*keptTurn{turn}
		}
	}
	for _, turn := range turns {
		if !turn.done && (isSure || turn.Checks[id] == check(item)) {
			return turn
		}
	}
	return nil
}

// ofCall returns the turn that was kept under a key of the call at position i, or nil. What was kept of another conversation that begins
// alike says something else.
func (r *restoring) ofCall(i int) *keptTurn {
	key := r.keys[i]
	if !strings.HasSuffix(key, wire.PlaceMark) {
		return r.byKey[key]
	}
	said := saidFrom(r.items, r.begins[i])
	if turn := r.byKey[wire.SaidKey(key, said)]; turn != nil {
		return turn
	}
	if turn := r.byKey[key]; turn != nil && !turn.SaysOther(said) {
		return turn
	}
	return nil
}

// hasCallOf reports whether the client sends a call that would be put back.
func (r *restoring) hasCallOf(turn *keptTurn) bool {
	for _, round := range turn.Rounds {
		for _, call := range round.Calls {
			if call := wire.View(call.Call); r.sent[callIDOf(call)+check(call)] {
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
		return isModels(item)
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
