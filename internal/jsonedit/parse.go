// Package jsonedit reads the top level of a JSON object in place, and edits it at byte offsets.
//
// [Parse] checks the whole text in one pass and notes where the top-level members are; an [Edit] made by [Object.Set]
// is applied by [Splice]. What is not edited stays byte for byte as it came: numbers no float can hold, escapes, odd
// white space, invalid UTF-8.
//
//	object, err := jsonedit.Parse(body)
//	…
//	model, ok := object.Get("model")
//	body, err = jsonedit.Splice(body, object.Set("stream", []byte("true")))
//
// To edit inside a member, parse its value, and move its edits to where the value begins: see [Moved]. The package decodes only
// strings.
package jsonedit

import (
	"errors"
	"fmt"
	"math"
)

// MaxDepth is how many objects and arrays may be open at once, the outermost included.
const MaxDepth = 512

// The errors of [Parse] and [CheckDepth] wrap one of these and say at which byte, counted from 0, the fault is.
var (
	// ErrInvalid means that the text is not JSON.
	ErrInvalid = errors.New("invalid JSON")
	// ErrDepth means that the text is nested deeper than [MaxDepth].
	ErrDepth = errors.New("JSON nested too deeply")
	// ErrDuplicate means that two members at the top level have the same name, or names that differ only in case.
	ErrDuplicate = errors.New("duplicate name in JSON object")
	// ErrNotObject means that the text is JSON, but not an object.
	ErrNotObject = errors.New("not a JSON object")
)

func depthError(pos int) error {
	return fmt.Errorf("%w: more than %d levels at byte %d", ErrDepth, MaxDepth, pos)
}

// Parse reads body, which must be one JSON object by RFC 8259, with optional white space around it. The names of its
// members must be unique after unescaping, also without regard to case: where a reader may take two members for one,
// the upstream might read another one than we judged. Below the top level names are not compared. Invalid UTF-8 and
// lone surrogates in strings are allowed.
//
// The result refers to body, which must not be changed while it is in use. Errors wrap [ErrInvalid], [ErrDepth],
// [ErrDuplicate] or [ErrNotObject].
func Parse(body []byte) (Object, error) {
	if uint64(len(body)) > math.MaxUint32 {
		return Object{}, fmt.Errorf("%w: more than %d bytes", ErrInvalid, uint32(math.MaxUint32))
	}
	s := scanner{body: body}
	if s.next() != '{' {
		if err := s.value(0); err != nil {
			return Object{}, err
		}
		if err := s.end(); err != nil {
			return Object{}, err
		}
		return Object{}, ErrNotObject
	}
	o := Object{body: body, open: s.pos}
	if err := o.readMembers(&s); err != nil {
		return Object{}, err
	}
	if err := s.end(); err != nil {
		return Object{}, err
	}
	return o, nil
}

// readMembers reads the object, with s at its opening brace.
func (o *Object) readMembers(s *scanner) error {
	s.pos++
	if s.next() == '}' {
		s.pos++
		return nil
	}
	o.members = make([]member, 0, fewMembers)
	for more := true; more; {
		err := o.readMember(s)
		if err != nil {
			return err
		}
		if more, err = s.separator('}'); err != nil {
			return err
		}
	}
	return nil
}

// readMember reads one member, with optional white space before it.
func (o *Object) readMember(s *scanner) error {
	s.next()
	m := member{name: span{start: uint32(s.pos + 1)}}
	if err := s.name(); err != nil {
		return err
	}
	m.name.end = uint32(s.pos - 1)
	m.plain = isPlain(o.slice(m.name))
	if err := s.colon(); err != nil {
		return err
	}
	isArray := s.next() == '['
	m.value.start = uint32(s.pos)
	var err error
	if isArray {
		m.elements, err = o.readElements(s)
	} else {
		err = s.value(1)
	}
	if err != nil {
		return err
	}
	m.value.end = uint32(s.pos)
	if other := o.add(m); other != nil {
		return fmt.Errorf("%w: %s at byte %d and %s at byte %d", ErrDuplicate,
			shown(o.name(other)), other.name.start-1, shown(o.name(&m)), m.name.start-1)
	}
	return nil
}

// readElements reads a top-level array, with s at its opening bracket. It returns the part of o.elements that holds the
// array's offsets.
func (o *Object) readElements(s *scanner) (span, error) {
	elements := span{start: uint32(len(o.elements))}
	s.pos++
	for more := s.next() != ']'; more; {
		s.next()
		o.elements = append(o.elements, uint32(s.pos))
		err := s.value(2)
		if err != nil {
			return span{}, err
		}
		if more, err = s.separator(']'); err != nil {
			return span{}, err
		}
	}
	if elements.start == uint32(len(o.elements)) {
		s.pos++
	}
	o.elements = append(o.elements, uint32(s.pos-1))
	elements.end = uint32(len(o.elements))
	return elements, nil
}

// shown quotes a name for an error, and shortens a long one.
func shown(name []byte) string {
	if len(name) > 64 {
		return fmt.Sprintf("%q…", name[:64])
	}
	return fmt.Sprintf("%q", name)
}

// isPlain reports whether the bytes of a name are its text.
func isPlain(name []byte) bool {
	for _, c := range name {
		if c == '\\' || c >= 0x80 {
			return false
		}
	}
	return true
}
