package jsonedit

import "slices"

// Remove returns the edits that remove the members with exactly those names, and the commas that separated them. Names of
// no member are ignored. With the edits, members may be set, unless all members are removed.
func (o Object) Remove(names ...string) []Edit {
	var edits []Edit
	for first := 0; first < len(o.members); first++ {
		next := first
		for next < len(o.members) && slices.Contains(names, string(o.name(&o.members[next]))) {
			next++
		}
		if next == first {
			continue
		}
		// A run of members goes with the comma in front of it or, if it has none, with the one behind it.
		edit := Edit{Start: int(o.members[first].name.start) - 1, End: int(o.members[next-1].value.end)}
		switch {
		case first > 0:
			edit.Start = int(o.members[first-1].value.end)
		case next < len(o.members):
			edit.End = int(o.members[next].name.start) - 1
		}
		edits = append(edits, edit)
		first = next
	}
	return edits
}

// Start returns the offset in the body at which the value of the member with that name begins, or -1 if there is none.
// Edits of a value that was parsed by itself are moved by it: see [Moved].
func (o Object) Start(name string) int {
	if m := o.exactly(name); m != nil {
		return int(m.value.start)
	}
	return -1
}

// Start returns the offset in the body at which the element at position i begins.
func (a Array) Start(i int) int { return int(a.starts[i]) }

// Moved returns edits of a part of a body as edits of the whole body, in which the part begins at that offset. It changes
// and returns the edits that it is given.
func Moved(edits []Edit, offset int) []Edit {
	for i := range edits {
		edits[i].Start += offset
		edits[i].End += offset
	}
	return edits
}
