package rederive_test

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// member is a member of an object. A member whose value is absent is left out.
type member struct {
	name  string
	value any
}

// object is a JSON object. A closed one gets no unknown members and keeps its order.
type object []member

type (
	list   []any
	raw    string // JSON, written unchanged.
	closed object
	absent struct{}
)

// maybe returns value, but once in n times absent or null.
func maybe(d dice, n int, value any) any {
	if !d.oneIn(n) {
		return value
	}
	return pick[any](d, absent{}, nil)
}

// encoder writes JSON, and varies how each value is written.
type encoder struct {
	dice
	strings.Builder

	escapes bool // It may escape characters that need no escape.
	spaces  string
	unknown bool // It may add members that no format has.
	shuffle bool
}

// encode writes a value as JSON, in a random spelling.
func (d dice) encode(value any) string {
	e := encoder{dice: d, escapes: d.oneIn(3), unknown: d.oneIn(3), shuffle: d.oneIn(2)}
	if d.oneIn(3) {
		e.spaces = pick(d, " ", "  ", "\t", " \t ", "\n", " \n ")
	}
	e.value(value)
	return e.String()
}

func (e *encoder) space() {
	if e.spaces != "" && e.oneIn(2) {
		e.WriteString(e.spaces)
	}
}

func (e *encoder) value(value any) {
	switch value := value.(type) {
	case nil:
		e.WriteString("null")
	case bool:
		e.WriteString(strconv.FormatBool(value))
	case int:
		e.WriteString(strconv.Itoa(value))
	case raw:
		e.WriteString(string(value))
	case string:
		e.text(value)
	case object:
		e.object(value, e.unknown)
	case closed:
		e.members(value)
	case []object:
		e.list(len(value), func(i int) any { return value[i] })
	case list:
		e.list(len(value), func(i int) any { return value[i] })
	default:
		panic(fmt.Sprintf("no JSON for %T", value))
	}
}

func (e *encoder) list(n int, at func(int) any) {
	e.WriteByte('[')
	for i := range n {
		if i > 0 {
			e.WriteByte(',')
		}
		e.space()
		e.value(at(i))
		e.space()
	}
	e.WriteByte(']')
}

func (e *encoder) object(members object, unknown bool) {
	members = append(object(nil), members...)
	if unknown && e.oneIn(4) {
		members = append(members, e.dice.unknown())
	}
	if e.shuffle {
		e.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	}
	e.members(members)
}

func (e *encoder) members(members []member) {
	e.WriteByte('{')
	first := true
	for _, member := range members {
		if _, ok := member.value.(absent); ok {
			continue
		}
		if !first {
			e.WriteByte(',')
		}
		first = false
		e.space()
		e.text(member.name)
		e.space()
		e.WriteByte(':')
		e.space()
		e.value(member.value)
		e.space()
	}
	e.WriteByte('}')
}

// unknown returns a member that no format has, but that could mislead a superficial reader.
func (d dice) unknown() member {
	name := pick(d, "x_new", "Usage", "TYPE", "Model", "ID", "Error", "Choices", "tool", "obfuscation2", "naïve", "")
	return member{name, pick[any](d,
		7, "text", nil, true,
		raw(`{"usage":{"input_tokens":999,"prompt_tokens":999,"completion_tokens":999,"output_tokens":999}}`),
		raw(`{"type":"message_stop","error":{"type":"server_error","message":"no"}}`),
		raw(`[{"finish_reason":"stop","delta":{"tool_calls":[{"index":0,"id":"no","function":{"name":"no"}}]}}]`),
		raw(`[[[[[[[[1e400]]]]]]],-0.0,123456789012345678901234567890]`),
	)}
}

// half stands for half of a surrogate pair, which JSON can hold and UTF-8 cannot.
const half = "\xed\xa0\xbd"

func (e *encoder) text(text string) {
	e.WriteByte('"')
	for i, c := range text {
		switch {
		case strings.HasPrefix(text[i:], half):
			e.WriteString(`\ud83d`)
		case c == utf8.RuneError && strings.HasPrefix(text[max(0, i-2):], half), c == utf8.RuneError && strings.HasPrefix(text[max(0, i-1):], half):
			// The second byte of half.
		case c == utf8.RuneError && text[i] != '\xef':
			e.WriteByte(text[i]) // An invalid byte is written unchanged.
		case c == '"' || c == '\\':
			e.WriteString(`\` + string(c))
		case c == '\n' && !e.escapes:
			e.WriteString(`\n`)
		case c < ' ', e.escapes && e.oneIn(6):
			for _, unit := range utf16.Encode([]rune{c}) {
				fmt.Fprintf(e, pick(e.dice, `\u%04x`, `\u%04X`), unit)
			}
		default:
			e.WriteRune(c)
		}
	}
	e.WriteByte('"')
}
