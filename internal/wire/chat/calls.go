package chat

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/wire"
)

// parts are the calls and thoughts of one answer.
type parts struct {
	gathering wire.Gathering
	calls     map[callKey]*call // The last call at each place.
	ids       map[callID]*call
	choices   map[int64]*choiceParts
}

type choiceParts struct {
	thought *wire.Thinking // A choice has at most one.
	calls   []*call
}

// call is a call whose pieces are being collected.
type call struct {
	*wire.Call
	// told says that a whole message brought the call. The deltas that make it, if they follow, bring it once more.
	told bool
}

// callKey is the place of a call within an answer. Some servers do not count from zero.
type callKey struct{ choice, call int64 }

type callID struct {
	choice int64
	id     string
}

// functionCall is the index of a choice's function_call, the older form of tool_calls, of which there is only one.
const functionCall = -1

// said is what a piece says of its call.
type said struct {
	key      callKey
	hasIndex bool
	id, name string
	input    gjson.Result
	isText   bool // The input is no JSON.
}

func (p *parts) of(choice int64) *choiceParts {
	if p.choices[choice] == nil {
		p.choices[choice] = &choiceParts{}
	}
	return p.choices[choice]
}

func newParts(memory *memory.Share) parts {
	return parts{
		gathering: wire.Gathering{Memory: memory},
		calls:     map[callKey]*call{}, ids: map[callID]*call{}, choices: map[int64]*choiceParts{},
	}
}

// readCalls reads the calls of a message, or pieces of them. It reports whether it understood them.
func (p *parts) readCalls(choice int64, calls gjson.Result, as role) bool {
	if !calls.IsArray() {
		return calls.Type == gjson.Null
	}
	understood := true
	var n int64
	calls.ForEach(func(_, value gjson.Result) bool {
		_, ok := p.readCall(choice, n, value, as)
		understood = ok && understood
		n++
		return true
	})
	return understood
}

// readCall reads the n-th call of a message, or a piece of it. It returns the call, which is nil if there are too many, and
// whether it understood it.
func (p *parts) readCall(choice, n int64, value gjson.Result, as role) (of *call, understood bool) {
	if !value.IsObject() {
		return nil, false
	}
	key := callKey{choice, n}
	index, hasIndex := wire.Whole(value.Get("index"))
	if hasIndex {
		key.call = index
	}
	function, input := value.Get("function"), "arguments"
	custom := value.Get("custom")
	if custom.IsObject() {
		function, input = custom, "input"
	}
	of = p.add(said{
		key: key, hasIndex: hasIndex,
		id: wire.String(value.Get("id")), name: wire.String(function.Get("name")), input: function.Get(input),
		isText: custom.IsObject(),
	}, n, as)
	if of != nil {
		p.gathering.ReadOrigin(of.Call, value)
		p.gathering.ReadOrigin(of.Call, function)
	}
	return of, function.IsObject() || function.Type == gjson.Null
}

// readFunctionCall reads a call in the older form, or a piece of it. It returns the call, or nil if there are too many.
func (p *parts) readFunctionCall(choice int64, function gjson.Result, as role) *call {
	return p.add(said{
		key: callKey{choice, functionCall}, hasIndex: true,
		name: wire.String(function.Get("name")), input: function.Get("arguments"),
	}, 0, as)
}

// add adds a piece to its call, which it returns, or nil if there are too many. n is the piece's place in its message.
func (p *parts) add(s said, n int64, as role) *call {
	text := inputText(s.input)
	var of *call
	switch as {
	case piece:
		if of = p.known(s, n, text); of != nil && strings.HasPrefix(text, of.Input.String()) {
			as = whole // It is the call so far.
			break
		}
		of = p.continued(s)
	case whole:
		of = p.known(s, n, text)
	case delta:
		of = p.continued(s)
	case onlyOnce: // Each is a call of its own.
	}
	if of == nil {
		begun := p.gathering.Call()
		if begun == nil {
			return nil
		}
		of = &call{Call: begun, told: as == whole}
		choice := p.of(s.key.choice)
		choice.calls = append(choice.calls, of)
	}
	p.calls[s.key] = of
	if of.ID == "" && s.id != "" {
		of.ID = p.gathering.Keep(s.id)
		p.ids[callID{s.key.choice, of.ID}] = of
	}
	switch {
	case of.Name == "":
		of.Name = p.gathering.Keep(s.name)
	case as == delta && s.name != of.Name && isNameOpen(of, s.id) && len(of.Name) <= longestName:
		of.Name += p.gathering.Keep(strings.TrimPrefix(s.name, of.Name)) // Some servers repeat what came before.
	}
	switch {
	case as == whole:
		of.Input.Complete(text)
	case s.isText:
		of.told = false
		of.Input.Add(text)
	default:
		of.told = false
		of.Input.AddJSON(text)
	}
	return of
}

// longestName is how many bytes of a name are collected: records have no more.
const longestName = 1024

// isNameOpen reports whether a piece with that id can go on with the call's name: none of its input has come, and the
// piece has no other id.
func isNameOpen(of *call, id string) bool {
	return of.Input.String() == "" && !of.told && (id == "" || id == of.ID)
}

// continued returns the call that a piece continues, or nil if it begins one.
func (p *parts) continued(s said) *call {
	at := p.calls[s.key]
	if of := p.ids[callID{s.key.choice, s.id}]; s.id != "" && of != nil && of != at {
		isNext := s.name == "" || s.name == of.Name && !isComplete(of)
		if of.told || !s.hasIndex && isNext { // Without an index, pieces are told apart by their ids.
			return of
		}
	}
	switch {
	case at == nil:
		return p.toldAs(s)
	case begins(at, s):
		return nil
	}
	return at
}

// toldAs returns a call without an id that a whole message brought, and that has the name of a piece without an id.
func (p *parts) toldAs(s said) *call {
	if s.id != "" || s.name == "" {
		return nil
	}
	for _, of := range p.of(s.key.choice).calls {
		if of.told && of.ID == "" && of.Name == s.name {
			return of
		}
	}
	return nil
}

// isComplete reports whether all of a call's input seems to have come.
func isComplete(of *call) bool { return gjson.Valid(of.Input.String()) }

// begins reports whether a piece at the place of a call begins another one: some servers give the same index to all
// calls, or none, and no ids. A piece without a name never does: some servers make up another id for each piece. One
// with another name goes on with the call's name if it has the call's index, and none of its input has come. One with the
// call's own name begins another call only if this one is whole: some servers repeat the name in each piece.
func begins(at *call, s said) bool {
	switch {
	case s.name == "":
		return false
	case s.id != "" && at.ID != "":
		return s.id != at.ID
	case at.Name == "":
		return false
	case s.name != at.Name:
		return !s.hasIndex || !isNameOpen(at, s.id)
	}
	return !at.told && at.ID == "" && isComplete(at)
}

// known returns the call that a whole message repeats, or nil: the one with its id; or the n-th of its choice, if it has
// the same name, and one of them has no id or both have the same input: some servers make up other ids.
func (p *parts) known(s said, n int64, input string) *call {
	if of := p.ids[callID{s.key.choice, s.id}]; of != nil && s.id != "" {
		return of
	}
	if s.key.call == functionCall {
		return p.calls[s.key]
	}
	calls := p.of(s.key.choice).calls
	if n >= int64(len(calls)) || calls[n].Name != s.name {
		return nil
	}
	if of := calls[n]; s.id == "" || of.ID == "" || input != "" && of.Input.String() == input {
		return of
	}
	return nil
}

// inputText returns a piece of input. Some servers write it as an object instead of a string.
func inputText(piece gjson.Result) string {
	if piece.IsObject() {
		return piece.Raw
	}
	return wire.String(piece)
}
