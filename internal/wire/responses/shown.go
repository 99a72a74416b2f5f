package responses

import (
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// mostShown is how many bytes are kept of the items that the client got before the last round.
const mostShown = 256 << 10

// shown returns what the client got of the rounds before the last one.
func (j *joint) shown(rounds []*round) map[string][]byte {
	if len(rounds) < 2 {
		return nil
	}
	shown, size := map[string][]byte{}, 0
	for name, value := range j.first.ids {
		shown[name] = value
	}
	var items [][]byte
	for _, round := range rounds[:len(rounds)-1] {
		for name, usage := range round.usage {
			shown[name] = wire.SumUsage(shown[name], usage)
		}
		for _, item := range round.list() {
			if size += len(item.raw); !item.ours && size <= mostShown {
				items = append(items, item.raw)
			}
		}
	}
	shown["output"] = array(items)
	return shown
}

func array(items [][]byte) []byte {
	return append(append([]byte{'['}, jsonedit.Join(items...)...), ']')
}

// Shown returns the joint for an answer that shows a stored response, or says something of it, where the client knows that as
// the first of several rounds: the provider shows the last one. The turn is what was kept of the answer. It returns nil if that
// says nothing.
func Shown(turn []byte, of wire.Joined) wire.Joint {
	kept, ok := decode(turn)
	if !ok {
		return nil
	}
	j := newJoint(of).(*joint)
	j.isShown, j.last = true, kept.Last
	if len(kept.Shown) == 0 {
		return j // The one round is hidden in no more than its calls.
	}
	before := newRound(of)
	before.output = kept.Shown["output"]
	j.before = []*round{before}
	j.first.ids = map[string][]byte{}
	for _, name := range firstMembers() {
		if value, ok := kept.Shown[name]; ok {
			j.first.ids[name] = value
		}
	}
	for _, name := range usageMembers() {
		if value, ok := kept.Shown[name]; ok {
			j.usage[name] = value
		}
	}
	j.numbering.nextRound(len(before.list()))
	j.numbering.resumes = true
	return j
}

// besideEdits returns the edits of a body that only says something of a stored response: a list of its items, or its id.
func (j *joint) besideEdits(body jsonedit.Object) []jsonedit.Edit {
	if memberText(body, "object") == "list" {
		calls := map[string]bool{}
		items := body.Elements("data")
		for i := range items.Len() {
			if item := wire.View(items.At(i)); isOurs(item, j.of) {
				calls[callIDOf(item)] = true
			}
		}
		return body.Remove("data", func(data []byte) bool {
			item := wire.View(data)
			return isOurs(item, j.of) || isResult(item) && calls[callIDOf(item)]
		})
	}
	id, hasID := j.first.ids["id"]
	if hasID && memberText(body, "id") == j.last {
		return []jsonedit.Edit{body.Set("id", id)}
	}
	return nil
}
