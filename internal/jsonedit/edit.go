package jsonedit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// Edit replaces a range of a body: body[Start:End] becomes New. Where Start equals End, New is inserted.
type Edit struct {
	Start, End int
	New        []byte
}

// Set returns the edit that gives the member with that name a new value, which must be JSON and is not checked. A new
// member is added after the last one. A member whose name differs from name only in case is replaced together with its
// name, since [Parse] would refuse an object with both.
//
// Several members may be set at once, unless the object is empty: an empty object can take one.
func (o Object) Set(name string, value []byte) Edit {
	if m := o.exactly(name); m != nil {
		return Edit{int(m.value.start), int(m.value.end), value}
	}
	quoted, _ := json.Marshal(name) // Encoding a string cannot fail.
	written := slices.Concat(quoted, []byte{':'}, value)
	if m := o.find([]byte(name)); m != nil {
		return Edit{int(m.name.start) - 1, int(m.value.end), written}
	}
	if len(o.members) == 0 {
		return Edit{o.open + 1, o.open + 1, written}
	}
	end := int(o.members[len(o.members)-1].value.end)
	return Edit{end, end, slices.Concat([]byte{','}, written)}
}

// After returns the value that the member with that name has once edits are made, of which one may be of [Object.Set].
func (o Object) After(name string, edits []Edit) (value []byte, ok bool) {
	set := o.Set(name, nil)
	for _, edit := range edits {
		if value, ok := bytes.CutPrefix(edit.New, set.New); ok && edit.Start == set.Start && edit.End == set.End {
			return value, true
		}
	}
	return o.Get(name)
}

// Splice returns a copy of body with the edits made, or body itself if there are none. Neither body nor the edits are
// changed. The edits may come in any order. Insertions at the same place appear in the order in which they were given,
// and before what replaces the bytes from there on. Splice fails if an edit lies outside the body or two edits overlap.
func Splice(body []byte, edits ...Edit) ([]byte, error) {
	if len(edits) == 0 {
		return body, nil
	}
	pieces, err := Pieces(body, edits...)
	if err != nil {
		return nil, err
	}
	return slices.Concat(pieces...), nil
}

// Pieces is [Splice], but returns the pieces of the copy, none of them empty, which are parts of body and of the edits.
func Pieces(body []byte, edits ...Edit) ([][]byte, error) {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b Edit) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End))
	})
	pieces := make([][]byte, 0, 2*len(edits)+1)
	add := func(piece []byte) {
		if len(piece) > 0 {
			pieces = append(pieces, piece)
		}
	}
	done := 0
	for _, e := range edits {
		if e.Start < done || e.End < e.Start || e.End > len(body) {
			return nil, fmt.Errorf("edit bytes %d to %d of %d: outside the body, or edited twice", e.Start, e.End, len(body))
		}
		add(body[done:e.Start])
		add(e.New)
		done = e.End
	}
	add(body[done:])
	return pieces, nil
}
