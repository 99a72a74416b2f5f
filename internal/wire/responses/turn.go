package responses

import (
	"bytes"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

func (j *joint) Turn() wire.Turn {
	if !j.now.ours || j.now.status != "completed" {
		return wire.Turn{} // In another state a call may have been cut.
	}
	j.now.handed = true
	var turn wire.Turn
	items := j.now.list()
	for _, item := range items {
		switch {
		case item.ours:
			turn.Calls = append(turn.Calls, wire.ToolCall{
				ID: strings.Clone(item.callID), ItemID: wire.Kept(item.value.Get("id")),
				Name: wire.Kept(item.value.Get("name")), Input: wire.Kept(item.value.Get("arguments")),
			})
		case isClients(item, items):
			turn.Mixed = true
		}
	}
	if len(turn.Calls) == 0 {
		return wire.Turn{Cut: true} // One has begun, and is not among what is done.
	}
	return turn
}

// isClients reports whether an item is a call that waits for the client's answer. Calls of hosted tools mostly have no call
// id, or the answer to them is among the items.
func isClients(call outputItem, all []outputItem) bool {
	switch call.kind {
	case "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call":
		return false
	}
	if call.ours || !isCall(call.kind) || call.callID == "" || call.value.Get("execution").Str == "server" {
		return false
	}
	return !slices.ContainsFunc(all, func(other outputItem) bool {
		return other.callID == call.callID && strings.HasSuffix(other.kind, "_output")
	})
}

func (j *joint) Continue(results []wire.Result) ([]jsonedit.Edit, error) {
	r := j.now
	j.Close(results)
	if err := r.err(); err != nil {
		return nil, err
	}
	for _, name := range usageMembers() {
		j.usage[name] = j.sum(name)
	}
	j.before = append(j.before, r)
	j.now = newRound(j.of)
	shown := 0
	for _, round := range j.before {
		shown += len(round.list()) - len(round.results)
	}
	j.numbering.nextRound(shown)
	body := j.of.Body
	input := []jsonedit.Edit{body.Set("input", slices.Concat([]byte{'['}, jsonedit.Join(r.results...), []byte{']'}))}
	store, _ := body.Get("store")
	switch {
	case wire.Has(body, "conversation"):
		return input, nil
	case r.stored && string(store) != "false" && len(r.id) > 0:
		return append(input, body.Set("previous_response_id", r.id)), nil
	}
	return j.withRounds(), nil
}

func (j *joint) Close(results []wire.Result) {
	if len(j.now.results) > 0 {
		return
	}
	for _, item := range j.now.list() {
		if !item.ours {
			continue
		}
		var result wire.Result
		if n := len(j.now.results); n < len(results) {
			result = results[n]
		}
		written := writeResult(item.callID, result)
		if j.of.Memory.Take(int64(len(written))) != nil {
			j.now.failed = wire.ErrTurnTooLarge
		}
		j.now.results = append(j.now.results, written)
	}
}

// withRounds returns the edits that put the items of the rounds, and the results, behind the client's input, and what was
// restored.
func (j *joint) withRounds() []jsonedit.Edit {
	var items [][]byte
	for _, round := range j.before {
		items = append(append(items, sendable(round.list())...), round.results...)
	}
	body := j.of.Body
	if body.Elements("input").Len() > 0 {
		return slices.Concat(j.of.Restored, body.Insert("input", jsonedit.Join(items...), false))
	}
	whole := asInput(body, nil, items)
	edits := slices.Clone(j.of.Restored)
	at := slices.IndexFunc(edits, func(edit jsonedit.Edit) bool {
		return edit.Start == whole.Start && edit.End == whole.End && bytes.HasSuffix(edit.New, []byte{']'})
	})
	if at < 0 {
		return append(edits, whole)
	}
	edits[at].New = slices.Concat(edits[at].New[:len(edits[at].New)-1], []byte{','}, jsonedit.Join(items...), []byte{']'})
	return edits
}

// sendable returns the items of an answer as the API takes them back. It does not know a reasoning that it has not stored,
// unless that is there in its encrypted form; and then it does not take the ids of the items that belong to it either. Some
// servers refuse the state of a reasoning, or its text.
func sendable(items []outputItem) [][]byte {
	var all [][]byte
	isUnknown := false
	for _, item := range items {
		object, err := jsonedit.Parse(item.raw)
		switch {
		case err != nil:
			all = append(all, item.raw)
		case item.kind != "reasoning" && isUnknown:
			all = append(all, spliced(object, object.Without("id")))
		case item.kind != "reasoning":
			all = append(all, item.raw)
		default:
			isUnknown = memberText(object, "encrypted_content") == ""
			if isUnknown {
				continue
			}
			refused := []string{"status"}
			if object.Elements("content").Len() > 0 {
				refused = append(refused, "content")
			}
			all = append(all, spliced(object, object.Without(refused...)))
		}
	}
	return all
}
