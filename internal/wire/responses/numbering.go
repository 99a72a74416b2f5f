package responses

import (
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// numbering gives the events of an answer, and its items, the numbers by which the client knows them: contiguous ones. As
// long as nothing is hidden from the client these are the numbers that came.
type numbering struct {
	rewrites bool   // Something was hidden.
	resumes  bool   // The first number is taken as it comes: the events before it are not known.
	last     int64  // The number of the event that the client got last, or -1.
	unread   []byte // An event that the client got after that. Its number is read if it is needed.

	next   int64           // The place in the output of the client's next item.
	places map[int64]int64 // The client's place of an item, by that in this round's output.
}

func newNumbering() numbering { return numbering{last: -1, places: map[int64]int64{}} }

// mostUnread is how large an event is that is kept to be read later.
const mostUnread = 4 << 10

// passed notes that the client got an event as it came.
func (n *numbering) passed(data []byte) {
	if len(data) <= mostUnread {
		n.unread = append(n.unread[:0], data...)
		return
	}
	n.unread = n.unread[:0]
	n.read(wire.View(data).Get(sequenceNumber))
}

const (
	sequenceNumber = "sequence_number"
	outputIndex    = "output_index"
)

func (n *numbering) read(number gjson.Result) {
	if value, ok := wire.Whole(number); ok {
		n.last = value
	}
}

// settle reads the number of the event that was passed last.
func (n *numbering) settle() {
	if len(n.unread) > 0 {
		n.read(wire.View(n.unread).Get(sequenceNumber))
		n.unread = n.unread[:0]
	}
}

// hide notes that an event is hidden from the client.
func (n *numbering) hide() {
	n.settle()
	n.rewrites = true
}

// nextRound notes that the items which come now are those of another answer, and how many the client has got so far.
func (n *numbering) nextRound(shown int) {
	n.hide()
	n.next = max(n.next, int64(shown))
	clear(n.places)
}

// number returns the number of an event that is made for the client.
func (n *numbering) number() int64 {
	n.hide()
	n.last++
	return n.last
}

// place returns the client's place of an item.
func (n *numbering) place(index int64) int64 {
	at, ok := n.places[index]
	if !ok {
		if at = index; n.rewrites {
			at = n.next
		}
		n.places[index] = at
		n.next = max(n.next, at+1)
	}
	return at
}

// edits returns the edits that give an event, which the client gets, its numbers.
func (n *numbering) edits(event jsonedit.Object) []jsonedit.Edit {
	n.settle()
	var edits []jsonedit.Edit
	if number, ok := wholeMember(event, sequenceNumber); ok {
		if n.last++; !n.rewrites || n.resumes {
			n.last, n.resumes = number, false
		}
		if n.last != number {
			edits = append(edits, event.Set(sequenceNumber, strconv.AppendInt(nil, n.last, 10)))
		}
	}
	if index, ok := wholeMember(event, outputIndex); ok {
		if at := n.place(index); at != index {
			edits = append(edits, event.Set(outputIndex, strconv.AppendInt(nil, at, 10)))
		}
	}
	return edits
}

// wholeMember returns a member that is a whole number.
func wholeMember(object jsonedit.Object, name string) (int64, bool) {
	value, ok := object.Get(name)
	if !ok {
		return 0, false
	}
	return wire.Whole(wire.View(value))
}
