package jsonedit

import (
	"bytes"
	"slices"
)

// Insert returns the edits that put elements, JSON with commas between, into the array that is the member with that name:
// before its first element, or behind its last. They make the array if there is no such member, or if it is null. There are
// none if its value is anything else, or if there are no elements. The edits may share memory with elements.
func (o Object) Insert(name string, elements []byte, first bool) []Edit {
	if len(elements) == 0 {
		return nil
	}
	m := o.exactly(name)
	if m == nil || string(o.slice(m.value)) == "null" {
		return []Edit{o.Set(name, slices.Concat([]byte{'['}, elements, []byte{']'}))}
	}
	if m.elements == (span{}) {
		return nil
	}
	all := Array{body: o.body, starts: o.elements[m.elements.start:m.elements.end]}
	switch at := all.end(); {
	case all.Len() == 0:
		return []Edit{{at, at, elements}}
	case first:
		at = int(all.starts[0])
		return []Edit{{at, at, elements}, {at, at, []byte{','}}}
	default:
		return []Edit{{at, at, []byte{','}}, {at, at, elements}}
	}
}

// end returns the offset behind the last element, or that of the closing bracket if there is none.
func (a Array) end() int {
	last := len(a.starts) - 1
	if last == 0 {
		return int(a.starts[0])
	}
	_, end := a.Place(last - 1)
	return end
}

// Place returns the offsets in the body at which the element at position i begins and ends.
func (a Array) Place(i int) (start, end int) {
	start = int(a.starts[i])
	return start, start + len(a.At(i))
}

// Join returns JSON values with commas between them.
func Join(values ...[]byte) []byte { return bytes.Join(values, []byte{','}) }
