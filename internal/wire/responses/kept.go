package responses

import (
	"cmp"
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// callKey is the key of what was kept of the answer with a call of the client's, answerKey that of an answer by its id, and
// reasoningKey that of the answer with a reasoning, by its mark.
func callKey(callID string) string       { return "responses:" + callID }
func answerKey(id string) string         { return "response:" + id }
func reasoningKey(content string) string { return "responses:reasoning " + content }

// Kept implements [wire.Joint]. A client may go on with the answer by its id, even if it was not asked for anything. One that
// sends the reasoning again needs the calls behind it: the API can refuse a reasoning without what followed.
func (j *joint) Kept() []wire.ToKeep {
	status := j.now.status
	if len(j.before) == 0 && len(j.now.results) == 0 || status != "completed" && status != "incomplete" || j.now.err() != nil {
		return nil
	}
	turn := wire.KeptTurn{Checks: map[string]string{}, Last: memberString(j.now.id)}
	var keep wire.ToKeep
	last := ""
	for _, round := range j.rounds() {
		kept, marks := round.kept()
		turn.Rounds = append(turn.Rounds, kept)
		for _, mark := range marks {
			if mark.Kind == "reasoning" && mark.Content != "" {
				last = mark.Content
			}
		}
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
	if last != "" {
		keep.Keys = append(keep.Keys, reasoningKey(last))
	}
	if len(keep.Keys) > 0 {
		keep.Turn = turn.Encode()
	}
	return []wire.ToKeep{keep}
}

// memberString returns the text of a JSON string, or "".
func memberString(raw []byte) string { return wire.Kept(wire.View(raw)) }

// kept returns what is kept of the round. What stands around the calls are the marks of the items that the client has seen.
func (r *round) kept() (kept wire.KeptRound, marks []mark) {
	for _, item := range r.list() {
		switch {
		case !item.ours:
			marks = append(marks, markOf(item.value))
		case len(kept.Calls) < len(r.results):
			kept.Calls = append(kept.Calls, wire.KeptCall{At: len(marks), Call: item.raw})
			kept.Results = append(kept.Results, r.results[len(kept.Results)])
		}
	}
	kept.Seen = len(marks)
	kept.Around, _ = json.Marshal(marks) // Strings can always be encoded.
	return kept, marks
}

// check returns a text that is the same for the same call.
func check(call gjson.Result) string {
	return wire.CallCheck(cmp.Or(wire.String(call.Get("name")), call.Get("type").Str), input(call))
}

// mark tells an item that a client sends again, or refers to.
type mark struct {
	Kind    string `json:"kind"`
	Content string `json:"content"`      // A call's id, or a text that is the same for the same content.
	ID      string `json:"id,omitempty"` // The item's.
}

func markOf(item gjson.Result) mark {
	m := mark{Kind: item.Get("type").Str, ID: wire.String(item.Get("id"))}
	switch id := callIDOf(item); {
	case isCall(m.Kind) && id != "":
		m.Content = id
	case m.Kind == "reasoning":
		if secret := cmp.Or(wire.String(item.Get("encrypted_content")), m.ID); secret != "" {
			m.Content = wire.CallCheck("", secret)
		}
	case m.Kind == "" || m.Kind == "message":
		m.Kind = "message"
		text := contentText(item)
		if content := item.Get("content"); content.Type == gjson.String {
			text = content.Str
		}
		m.Content = wire.CallCheck("", text)
	default:
		m.Content = wire.CallCheck("", input(item))
	}
	return m
}

// tells reports whether an item of a request is the marked one, or refers to it.
func (m mark) tells(sent mark) bool {
	if sent.Kind == "item_reference" {
		return sent.ID != "" && sent.ID == m.ID
	}
	return sent.Kind == m.Kind && sent.Content == m.Content
}

// marksOf returns the marks of all that the client has seen of a turn, or nil if these are not sound.
func marksOf(turn wire.KeptTurn) []mark {
	var marks []mark
	for _, round := range turn.Rounds {
		var some []mark
		if json.Unmarshal(round.Around, &some) != nil || len(some) != round.Seen {
			return nil
		}
		marks = append(marks, some...)
	}
	return marks
}

// keys implements [wire.Tooling].Keys. The results that came last stand behind all that the model made, perhaps with a
// message of the user's.
func keys(body jsonedit.Object, whole bool) []string {
	var found []string
	if id := memberText(body, "previous_response_id"); id != "" {
		found = append(found, answerKey(id))
	}
	items, seen := body.Elements("input"), map[string]bool{}
	for i := items.Len() - 1; i >= 0; i-- {
		item := wire.View(items.At(i))
		switch {
		case isResult(item):
			if id := callIDOf(item); id != "" && !seen[id] {
				seen[id] = true
				found = append(found, callKey(id))
			}
		case !whole && isOfModel(item):
			return found
		case whole && item.Get("type").Str == "reasoning":
			if mark := markOf(item); mark.Content != "" {
				found = append(found, reasoningKey(mark.Content))
			}
		}
	}
	return found
}

// isResult reports whether an input item is the result of a call.
func isResult(item gjson.Result) bool {
	kind := item.Get("type").Str
	return strings.HasSuffix(kind, "_output") || kind == "mcp_approval_response"
}
