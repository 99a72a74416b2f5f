package jsonedit

import "bytes"

// Object is a JSON object whose top level has been read. It shares memory with the bytes that it was parsed from, is
// never changed, and is safe for concurrent use. The zero Object has no members and cannot be edited.
type Object struct {
	body    []byte
	open    int // Offset of the opening brace.
	members []member
	// elements holds, for each member that is an array, the offset of the beginning of each element and then the offset
	// of the closing bracket.
	elements []uint32
	names    *index // Nil while there are few members.
}

// member is one member of the object. Its offsets have 32 bits, so that the memory for a hostile body stays a small
// multiple of its size.
type member struct {
	name     span // Without the quotes.
	value    span
	elements span // This member's part of Object.elements; empty if the value is no array.
	plain    bool // The name is ASCII without escapes: its bytes are its text.
}

type span struct{ start, end uint32 }

// Bytes returns the bytes that the object was parsed from, with any white space around it.
func (o Object) Bytes() []byte { return o.body }

// Get returns the value of the member with that name, as it is written in the body. The name is compared unescaped, and
// exactly.
func (o Object) Get(name string) (value []byte, ok bool) {
	m := o.exactly(name)
	if m == nil {
		return nil, false
	}
	return o.slice(m.value), true
}

// Elements returns the elements of the member with that name. There are none if there is no such member or its value is
// no array.
func (o Object) Elements(name string) Array {
	m := o.exactly(name)
	if m == nil || m.elements == (span{}) {
		return Array{}
	}
	return Array{body: o.body, starts: o.elements[m.elements.start:m.elements.end]}
}

// find returns the member whose name is name without regard to case, or nil. There is never more than one.
func (o *Object) find(name []byte) *member {
	if o.names != nil {
		_, s := o.names.find(o, name)
		if s.member == 0 {
			return nil
		}
		return &o.members[s.member-1]
	}
	for i := range o.members {
		if bytes.EqualFold(o.name(&o.members[i]), name) {
			return &o.members[i]
		}
	}
	return nil
}

// exactly returns the member with exactly that name, or nil.
func (o *Object) exactly(name string) *member {
	if m := o.find([]byte(name)); m != nil && string(o.name(m)) == name {
		return m
	}
	return nil
}

// add appends a member. If a member has the same name without regard to case, add returns that one and appends nothing.
func (o *Object) add(m member) *member {
	name := o.name(&m)
	if o.names != nil {
		at, s := o.names.find(o, name)
		if s.member != 0 {
			return &o.members[s.member-1]
		}
		o.names.fill(at, s.hash, len(o.members))
		o.members = append(o.members, m)
		return nil
	}
	if other := o.find(name); other != nil {
		return other
	}
	o.members = append(o.members, m)
	if len(o.members) > fewMembers {
		o.names = newIndex(o)
	}
	return nil
}

// name returns the unescaped name of m.
func (o *Object) name(m *member) []byte {
	if m.plain {
		return o.slice(m.name)
	}
	name, _ := String(o.body[m.name.start-1 : m.name.end+1])
	return []byte(name)
}

// slice returns the bytes of a span, with no spare capacity.
func (o *Object) slice(s span) []byte {
	return o.body[s.start:s.end:s.end]
}
