package jsonedit

// Remove returns the edits that take the elements for which gone reports true out of the array that is the member with that
// name. There are none if its value is no array. They undo [Object.Insert], but for an array that had to be made.
func (o Object) Remove(name string, gone func(element []byte) bool) []Edit {
	all := o.Elements(name)
	places := make([]span, all.Len())
	for i := range places {
		start, end := all.Place(i)
		places[i] = span{uint32(start), uint32(end)}
	}
	return remove(places, func(i int) bool { return gone(all.At(i)) })
}

// Without returns the edits that take the members with these names out of the object.
func (o Object) Without(names ...string) []Edit {
	places := make([]span, len(o.members))
	for i, m := range o.members {
		places[i] = span{m.name.start - 1, m.value.end}
	}
	gone := map[*member]bool{}
	for _, name := range names {
		gone[o.exactly(name)] = true
	}
	return remove(places, func(i int) bool { return gone[&o.members[i]] })
}

// remove returns the edits that take values out of a list with commas between them: each with the comma before it, or, in
// front of the first that stays, with the comma behind it.
func remove(places []span, gone func(int) bool) []Edit {
	var edits []Edit
	stays := -1 // The last that stays.
	for i := 0; i < len(places); i++ {
		if !gone(i) {
			stays = i
			continue
		}
		begin := i
		for i+1 < len(places) && gone(i+1) {
			i++
		}
		edit := Edit{Start: int(places[begin].start), End: int(places[i].end)}
		switch {
		case stays >= 0:
			edit.Start = int(places[stays].end)
		case i+1 < len(places):
			edit.End = int(places[i+1].start)
		}
		edits = append(edits, edit)
	}
	return edits
}
