package jsonedit

import (
	"bytes"
	"hash/maphash"
	"unicode"
	"unicode/utf8"
)

// index finds a member by its name, without regard to case, in an object of many members. Comparing each name with each
// other would take time by the square of a hostile body's size. It is a hash table with open addressing.
type index struct {
	seed  maphash.Seed
	slots []slot // Their number is a power of two.
	used  int
}

// slot is one member's place in the table.
type slot struct {
	hash   uint32 // Of the member's name.
	member uint32 // One more than the position in Object.members, or 0: the slot is free.
}

// fewMembers is the largest number of members that is searched one by one.
const fewMembers = 16

// newIndex returns an index of the members that o has, whose names differ.
func newIndex(o *Object) *index {
	x := &index{seed: maphash.MakeSeed(), slots: make([]slot, 8*fewMembers)}
	for i := range o.members {
		at, free := x.find(o, o.name(&o.members[i]))
		x.fill(at, free.hash, i)
	}
	return x
}

// find returns the slot that holds a name, or the free slot for it, and the hash of the name.
func (x *index) find(o *Object, name []byte) (at uint32, s slot) {
	var room [64]byte
	hash := uint32(maphash.Bytes(x.seed, appendFolded(room[:0], name)))
	mask := uint32(len(x.slots) - 1)
	for at = hash & mask; ; at = (at + 1) & mask {
		s = x.slots[at]
		if s.member == 0 {
			return at, slot{hash: hash}
		}
		if s.hash == hash && bytes.EqualFold(o.name(&o.members[s.member-1]), name) {
			return at, s
		}
	}
}

// fill puts the member at position i of Object.members into the slot that find returned for its name just before.
func (x *index) fill(at, hash uint32, i int) {
	x.slots[at] = slot{hash, uint32(i + 1)}
	x.used++
	if 2*x.used < len(x.slots) {
		return
	}
	old := x.slots
	x.slots = make([]slot, 2*len(old))
	mask := uint32(len(x.slots) - 1)
	for _, s := range old {
		if s.member == 0 {
			continue
		}
		at := s.hash & mask
		for x.slots[at].member != 0 {
			at = (at + 1) & mask
		}
		x.slots[at] = s
	}
}

// appendFolded appends name to b. Names that are equal by [bytes.EqualFold] are appended as the same bytes.
func appendFolded(b, name []byte) []byte {
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRune(name[i:])
		i += size
		b = utf8.AppendRune(b, folded(r))
	}
	return b
}

// folded returns the lowest of the characters that differ from r only in case.
func folded(r rune) rune {
	if r < utf8.RuneSelf {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}
	next := unicode.SimpleFold(r)
	for next > r {
		r, next = next, unicode.SimpleFold(next)
	}
	return next
}
