package chat

import (
	"bytes"
	"slices"

	"github.com/tidwall/gjson"
)

// grown is a JSON value made of the pieces that deltas bring of it. All that it holds is written as it came. The zero grown
// is null.
type grown struct {
	kind     grownKind
	raw      []byte // Of a text what is between its quotes, of a scalar all of it.
	members  []*grownMember
	byName   map[string]*grown
	elements []*grown
}

type grownKind int

const (
	grownNull grownKind = iota
	grownScalar
	grownText
	grownObject
	grownArray
)

type grownMember struct {
	name []byte // With its quotes.
	*grown
}

// member returns the member with that name, which it makes if there is none. Raw is the name in quotes.
func (g *grown) member(name, raw string) *grown {
	if of := g.byName[name]; of != nil {
		return of
	}
	if g.byName == nil {
		g.kind, g.byName = grownObject, map[string]*grown{}
	}
	of := &grown{}
	g.byName[string([]byte(name))] = of
	g.members = append(g.members, &grownMember{[]byte(raw), of})
	return of
}

// add adds a piece, which is the value of a member with that name. Null adds nothing, texts go on, of other scalars the last
// one counts, and of objects the members are added.
func (g *grown) add(name string, piece gjson.Result, as role) {
	if g.kind == grownArray && piece.Type == gjson.String {
		g.addText(piece.Raw) // A content that has begun as parts.
		return
	}
	switch {
	case piece.Type == gjson.Null:
	case piece.Type == gjson.String:
		g.addString(name, inside(piece.Raw), as)
	case piece.IsObject():
		if g.kind != grownObject {
			*g = grown{kind: grownObject}
		}
		piece.ForEach(func(name, value gjson.Result) bool {
			g.member(name.Str, name.Raw).add(name.Str, value, as)
			return true
		})
	case piece.IsArray():
		g.addArray(piece, as)
	default:
		*g = grown{kind: grownScalar, raw: []byte(piece.Raw)}
	}
}

// inside returns what is between the quotes of a JSON string.
func inside(raw string) string { return raw[1 : len(raw)-1] }

func (g *grown) addString(name, text string, as role) {
	repeats := as == whole || as == piece
	switch {
	case g.kind != grownText:
		*g = grown{kind: grownText, raw: []byte(text)}
	case isOneWord(name), repeats && len(text) >= len(g.raw) && text[:len(g.raw)] == string(g.raw):
		if text != "" {
			g.raw = append(g.raw[:0], text...)
		}
	case as != whole:
		g.raw = append(g.raw, text...)
	}
}

// isOneWord reports whether a text with that name comes whole, and perhaps again and again.
func isOneWord(name string) bool {
	switch name {
	case "id", "type", "role", "format", "name", "status", "signature", "thought_signature", "object":
		return true
	}
	return false
}

func (g *grown) addArray(piece gjson.Result, as role) {
	switch {
	case g.kind == grownArray && as == whole:
		return // It brings all once more.
	case g.kind == grownText && len(g.raw) > 0: // A content that has begun as a string.
		begun := string(g.raw)
		*g = grown{kind: grownArray}
		g.addText(`"` + begun + `"`)
	case g.kind != grownArray:
		*g = grown{kind: grownArray}
	}
	piece.ForEach(func(_, value gjson.Result) bool {
		of := (*grown)(nil)
		if as != onlyOnce {
			of = g.continued(value)
		}
		if of == nil {
			of = &grown{}
			g.elements = append(g.elements, of)
		}
		of.add("", value, as)
		return true
	})
}

func (g *grown) addText(raw string) {
	if raw == `""` {
		return
	}
	g.addArray(gjson.Parse(`[{"type":"text","text":`+raw+`}]`), delta)
}

// mostOpen is how many of the last elements of an array may go on.
const mostOpen = 64

// continued returns the element that a piece goes on with, or nil: the one with its index, if it says nothing else of what it
// is; without an index the last one, if it is a text or a thought that is not signed yet.
func (g *grown) continued(piece gjson.Result) *grown {
	if !piece.IsObject() || len(g.elements) == 0 {
		return nil
	}
	index := piece.Get("index").Raw
	for i, of := range slices.Backward(g.elements[max(0, len(g.elements)-mostOpen):]) {
		switch {
		case of.text("index") != index, !of.fits(piece, "type"), !of.fits(piece, "id"):
		case index != "":
			return of
		case i == min(len(g.elements), mostOpen)-1 && of.goesOn():
			return of
		}
		if index == "" {
			return nil
		}
	}
	return nil
}

// fits reports whether a piece has the same member with that name, or none.
func (g *grown) fits(piece gjson.Result, name string) bool {
	value := piece.Get(name)
	return value.Type != gjson.String || g.text(name) == "" || g.text(name) == inside(value.Raw)
}

func (g *grown) goesOn() bool {
	switch g.text("type") {
	case "text", "output_text", "thinking", "reasoning":
		return g.text("signature") == ""
	}
	return false
}

// text returns what a member that is a text or another scalar has, without quotes.
func (g *grown) text(name string) string {
	if of := g.byName[name]; of != nil {
		return string(of.raw)
	}
	return ""
}

// isEmpty reports whether the value is null, or has nothing in it.
func (g *grown) isEmpty() bool {
	return g.kind != grownScalar && len(g.raw) == 0 && len(g.elements) == 0 && len(g.members) == 0
}

// append appends the value as JSON.
func (g *grown) append(dst []byte) []byte {
	switch g.kind {
	case grownScalar:
		return append(dst, g.raw...)
	case grownText:
		return append(append(append(dst, '"'), g.raw...), '"')
	case grownArray:
		dst = append(dst, '[')
		for i, of := range g.elements {
			dst = of.append(comma(dst, i))
		}
		return append(dst, ']')
	case grownObject:
		return append(g.appendMembers(append(dst, '{'), func(string) bool { return true }), '}')
	}
	return append(dst, "null"...)
}

// appendMembers appends the members with the names that wanted wants and that are not null, each behind a comma, unless dst
// ends with an opening brace.
func (g *grown) appendMembers(dst []byte, wanted func(name string) bool) []byte {
	for _, of := range g.members {
		if of.kind == grownNull || !wanted(inside(string(of.name))) {
			continue
		}
		if !bytes.HasSuffix(dst, []byte{'{'}) {
			dst = append(dst, ',')
		}
		dst = of.append(append(append(dst, of.name...), ':'))
	}
	return dst
}

// comma appends a comma, unless it would stand before the first of a list.
func comma(dst []byte, i int) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, ',')
}
