package jsonedit

// Start returns the offset in the body at which the value of the member with that name begins, or -1 if there is none.
// Edits of a value that was parsed by itself are moved by it: see [Moved].
func (o Object) Start(name string) int {
	if m := o.exactly(name); m != nil {
		return int(m.value.start)
	}
	return -1
}

// Moved returns edits of a part of a body as edits of the whole body, in which the part begins at that offset. It changes
// and returns the edits that it is given.
func Moved(edits []Edit, offset int) []Edit {
	for i := range edits {
		edits[i].Start += offset
		edits[i].End += offset
	}
	return edits
}
