package chat

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// divided is a message in which a client sends back as one what the model said in several rounds. Each round gets its part, and
// what is left is the last one's. The zero value of its maps is ready.
type divided struct {
	message jsonedit.Object
	left    map[string]string // Of members that are texts, once a round was looked for in them.
	taken   []string          // The members of which a round has got a part.
}

// take takes what a round said from the beginning of a member, and reports whether it was there.
func (d *divided) take(name, said string) bool {
	left, known := d.left[name]
	if !known {
		value, _ := d.message.Get(name)
		left = wire.View(value).Str // Nothing if it is no text.
		d.left[name] = left
	}
	rest, ok := strings.CutPrefix(left, said)
	if !ok || said == "" {
		return false
	}
	if d.left[name] = rest; !slices.Contains(d.taken, name) {
		d.taken = append(d.taken, name)
	}
	return true
}

// takeRound takes what a round said from the message, and returns the round's content.
func (d *divided) takeRound(round wire.KeptRound) (content []byte) {
	wire.View(round.Around).ForEach(func(name, value gjson.Result) bool {
		if value.Type == gjson.String {
			d.take(name.Str, value.Str)
		}
		return true
	})
	if said := wire.View(round.Said); said.Type == gjson.String && d.take("content", said.Str) {
		return round.Said
	}
	return []byte("null")
}

// edits returns the edits that leave what no round has got.
func (d *divided) edits() (edits []jsonedit.Edit) {
	var gone []string
	for _, name := range d.taken {
		switch left := d.left[name]; {
		case left != "":
			edits = append(edits, d.message.Set(name, gjson.AppendJSONString(nil, left)))
		case name == "content":
			edits = append(edits, d.message.Set(name, []byte("null")))
		default:
			gone = append(gone, name)
		}
	}
	return append(edits, d.message.Without(gone...)...)
}
