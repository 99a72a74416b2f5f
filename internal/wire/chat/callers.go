package chat

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// callers tells the calls of one round apart, and whose they are.
type callers struct {
	parts    parts
	of       map[*call]*caller
	order    []*caller // As they began.
	unjudged []*caller // Those of which it may be unknown whose they are.
}

// caller is a call, and what the client sees of it.
type caller struct {
	*call
	whose whose
	// shown says that the client has seen the call, with that index, or without one.
	shown, bare bool
	index       int64
	waiting     []waiting // What came of the call before it was known whose it is.
	size        int       // Of what waits.
}

type whose int

const (
	unknown whose = iota // Its name may go on.
	ours
	theirs
)

// waiting is a chunk with nothing but a piece of one call.
type waiting struct {
	chunk    []byte
	index    int64
	hasIndex bool
}

func newCallers(joined wire.Joined) callers {
	return callers{parts: newParts(joined.Memory), of: map[*call]*caller{}}
}

// read reads the n-th call of a message, or a piece of it. It returns nil if there are too many, or if it is none.
func (c *callers) read(choice, n int64, value gjson.Result, as role) *caller {
	made, _ := c.parts.readCall(choice, n, value, as)
	return c.caller(made)
}

// readFunction reads a call in the older form, which has no index.
func (c *callers) readFunction(choice int64, function gjson.Result, as role) *caller {
	of := c.caller(c.parts.readFunctionCall(choice, function, as))
	if of != nil {
		of.shown, of.bare = true, true
	}
	return of
}

// caller returns the caller of a call, or nil without one.
func (c *callers) caller(made *call) *caller {
	if made == nil {
		return nil
	}
	of := c.of[made]
	if of == nil {
		of = &caller{call: made}
		c.of[made] = of
		c.order, c.unjudged = append(c.order, of), append(c.unjudged, of)
	}
	return of
}

// judge finds out whose a call is, unless its name may go on.
func (j *joint) judge(of *caller) {
	if of.whose != unknown {
		return
	}
	mayGoOn := of.Name == "" || isNameOpen(of.call, "")
	if !mayGoOn || j.joined.MayBeOurs == nil || !j.joined.MayBeOurs(of.Name) {
		j.judgeByName(of)
	}
}

func (j *joint) judgeByName(of *caller) {
	of.whose = theirs
	if j.joined.IsOurs(of.Name) {
		of.whose, of.waiting = ours, nil
		j.ours, j.hidden = true, true
	}
}

// settle judges all calls: their names are complete. It appends what the client now sees.
func (j *joint) settle(ready []byte) []byte {
	for _, of := range j.unjudged {
		if of.whose == unknown {
			j.judgeByName(of)
		}
	}
	for _, of := range j.unjudged {
		ready = j.release(ready, of)
	}
	j.unjudged = nil
	return ready
}

// release appends what has waited of a call of the client's.
func (j *joint) release(ready []byte, of *caller) []byte {
	if of.whose != theirs || len(of.waiting) == 0 {
		return ready
	}
	for _, piece := range of.waiting {
		j.place(of, piece.index, piece.hasIndex)
		only := chunk{only: true, callers: func(int) *caller { return of }}
		ready = j.show(ready, dataEvent(j.write(piece.chunk, only, saying)))
	}
	of.waiting = nil
	return ready
}

// wait keeps a piece of a call until it is known whose it is. What does not fit is left out: names are short.
func (j *joint) wait(of *caller, piece waiting) {
	if of.size += len(piece.chunk); of.size <= heldLimit {
		of.waiting = append(of.waiting, piece)
	}
}

// highest is the highest index of a server that is counted on from.
const highest = 1 << 20

// place gives a call that the client sees its index: the one it came with, if the client has seen all so far.
func (j *joint) place(of *caller, index int64, hasIndex bool) {
	if of.shown {
		return
	}
	of.shown, of.index = true, j.next
	if !j.hidden {
		of.bare = !hasIndex
		if hasIndex {
			of.index = index
		}
	}
	j.next = max(j.next, min(of.index, highest)+1)
}
