package chat_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/chat"
)

// FuzzServers makes up answers of up to three rounds and streams them as different servers do: the client has all text and
// its own calls, once, whatever the server, and the upstream is sent what the model said.
func FuzzServers(f *testing.F) {
	for seed := range uint64(100) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		var streams, bodies []string
		var want seen
		var theirs []wire.ToolCall
		server := randomServer(r)
		rounds := 1 + r.IntN(3)
		total := 0
		for round := range rounds {
			said := randomTurn(r, round, round < rounds-1)
			usage := r.IntN(100)
			total += usage
			streams = append(streams, server.stream(r, said, round, usage))
			bodies = append(bodies, said.body(round, usage))
			want.Content += strings.Join(said.texts, "")
			want.Reasoning += strings.Join(said.thoughts, "")
			want.Finish = said.finish()
			for _, call := range said.calls {
				if !isOurs(call.Name) {
					theirs = append(theirs, call)
					want.Calls = append(want.Calls, seenCall{call.ID, call.Name, call.Input})
				}
			}
		}
		want.ID, want.Created, want.Usage = "c0", "10", fmt.Sprintf(`{"total_tokens":%d}`, total)
		streamed, blocking := exchange{t: t}, exchange{t: t}
		streamed.run(wire.Stream, streams...)
		blocking.run(wire.Body, bodies...)
		sameSeen(t, readBody(blocking.client), want)
		if !reflect.DeepEqual(streamed.bodies, blocking.bodies) || !reflect.DeepEqual(streamed.kept, blocking.kept) {
			t.Errorf("the upstream is sent\n%s\nand\n%s\nkept are\n%s\nand\n%s", streamed.bodies, blocking.bodies, streamed.kept.Turn, blocking.kept.Turn)
		}
		answered(t, []byte(streamed.bodies[len(streamed.bodies)-1]))

		got := readStream(streamed.client)
		tracker := chat.Format().Track(wire.Stream, nil)
		for event := range split(streamed.client) {
			tracker.Observe(event)
		}
		if answer := tracker.Answer(); !reflect.DeepEqual(answer.ToolCalls, theirs) || answer.Unread > 0 {
			t.Errorf("the client has the calls\n%+v\nwant\n%+v", answer.ToolCalls, theirs)
		}
		if server.indexes != counted { // A plain client cannot read the calls of others.
			got.Calls, want.Calls = nil, nil
		}
		got.Damaged = got.Damaged && server.indexes == counted
		sameSeen(t, got, want)
		if got.Dones != 1 || !server.running && got.Usages != 1 {
			t.Errorf("%d usages and %d ends", got.Usages, got.Dones)
		}
		if t.Failed() {
			t.Errorf("%+v\n%s\nclient\n%s", server, strings.Join(streams, "\n"), streamed.client)
		}
	})
}

// said is what a model says in one round.
type said struct {
	thoughts, texts []string
	calls           []wire.ToolCall
}

func (s said) finish() string {
	if len(s.calls) > 0 {
		return "tool_calls"
	}
	return "stop"
}

func randomTurn(r *rand.Rand, round int, onlyOurs bool) said {
	var s said
	pieces := []string{"a", "ü", `"`, `\`, "\n", "{}", "bmcp_a_x", "🌍", " "}
	for range r.IntN(4) {
		s.thoughts = append(s.thoughts, pieces[r.IntN(len(pieces))])
	}
	for range r.IntN(4) {
		s.texts = append(s.texts, pieces[r.IntN(len(pieces))])
	}
	names := []string{"bmcp_a_x", "bmcp_a_xy", "bmcp_a", "bmcp_other", "Read", "List"}
	inputs := []string{`{}`, `{"a":1}`, `{"a":"🌍\""}`, ` {"a":[1,2] } `}
	n := r.IntN(4)
	if onlyOurs {
		n, names = 1+r.IntN(3), names[:2]
	}
	for i := range n {
		s.calls = append(s.calls, wire.ToolCall{
			ID: fmt.Sprintf("call_%d_%d", round, i), Name: names[r.IntN(len(names))], Input: inputs[r.IntN(len(inputs))],
		})
	}
	if !onlyOurs && n > 0 { // Else it would not be the last round.
		s.calls[r.IntN(n)].Name = "Read"
	}
	return s
}

func quoted(text string) string {
	encoded, _ := json.Marshal(text)
	return string(encoded)
}

func (s said) body(round, usage int) string {
	message := `{"role":"assistant","content":` + quoted(strings.Join(s.texts, ""))
	if s.thoughts != nil {
		message += `,"reasoning_content":` + quoted(strings.Join(s.thoughts, ""))
	}
	for i, call := range s.calls {
		message += []string{`,"tool_calls":[`, `,`}[min(i, 1)] + fmt.Sprintf(`{"id":%q,"type":"function","function":{"name":%q,"arguments":%s}}`,
			call.ID, call.Name, quoted(call.Input))
	}
	if s.calls != nil {
		message += `]`
	}
	return fmt.Sprintf(`{"id":"c%d","created":1%d,"choices":[{"index":0,"message":%s},"finish_reason":%q}],"usage":{"total_tokens":%d}}`,
		round, round, message, s.finish(), usage)
}

// server is how a server streams.
type server struct {
	indexes    indexing
	namePieces bool
	inputs     int // Pieces of an input.
	together   bool
	roles      bool // In every chunk.
	running    bool // Usage in every chunk.
	usageAtEnd bool // In the chunk with the finish reason.
	finishLast bool // In the last chunk with something to say.
}

type indexing int

const (
	counted indexing = iota
	fromOne
	none
	allZero
)

func randomServer(r *rand.Rand) server {
	coin := func() bool { return r.IntN(3) == 0 }
	s := server{
		indexes: indexing(r.IntN(4)), namePieces: coin(), inputs: r.IntN(3), together: coin(), roles: coin(),
		running: coin(), usageAtEnd: coin(), finishLast: coin(),
	}
	if s.indexes == none || s.indexes == allZero { // Pieces of calls could not be told apart.
		s.namePieces, s.inputs = false, 0
	}
	return s
}

func (s server) stream(r *rand.Rand, what said, round, usage int) string {
	deltas := []string{`"content":""`}
	for _, thought := range what.thoughts {
		deltas = append(deltas, `"reasoning_content":`+quoted(thought))
	}
	for _, text := range what.texts {
		deltas = append(deltas, `"content":`+quoted(text))
	}
	var calls [][]string
	for i, call := range what.calls {
		calls = append(calls, s.pieces(r, i, call))
	}
	if s.together && s.inputs == 0 && !s.namePieces && len(calls) > 0 {
		var all []string
		for _, pieces := range calls {
			all = append(all, pieces...)
		}
		calls = [][]string{{strings.Join(all, ",")}}
	}
	for _, pieces := range calls {
		for _, piece := range pieces {
			deltas = append(deltas, `"tool_calls":[`+piece+`]`)
		}
	}
	if !s.finishLast {
		deltas = append(deltas, ``)
	}
	var stream strings.Builder
	for i, delta := range deltas {
		finish, told := "null", "null"
		last := i == len(deltas)-1
		if last {
			finish = quoted(what.finish())
		}
		if s.running || last && s.usageAtEnd {
			told = fmt.Sprintf(`{"total_tokens":%d}`, usage)
		}
		if i == 0 || s.roles {
			delta = strings.TrimSuffix(`"role":"assistant",`+delta, ",")
		}
		fmt.Fprintf(&stream, `data: {"id":"c%d","created":1%d,"choices":[{"index":0,"delta":{%s},"finish_reason":%s}],"usage":%s}`+"\n\n",
			round, round, delta, finish, told)
	}
	if !s.usageAtEnd {
		fmt.Fprintf(&stream, `data: {"id":"c%d","created":1%d,"choices":[],"usage":{"total_tokens":%d}}`+"\n\n", round, round, usage)
	}
	return stream.String() + "data: [DONE]\n\n"
}

// pieces returns the pieces of a call.
func (s server) pieces(r *rand.Rand, i int, call wire.ToolCall) []string {
	index := map[indexing]string{counted: fmt.Sprintf(`"index":%d,`, i), fromOne: fmt.Sprintf(`"index":%d,`, i+1), allZero: `"index":0,`}[s.indexes]
	name, rest := call.Name, ""
	if s.namePieces {
		at := 1 + r.IntN(len(name)-1)
		name, rest = name[:at], name[at:]
	}
	input := []string{call.Input}
	if s.inputs > 0 {
		at := len(`{`)
		input = []string{"", call.Input[:at], call.Input[at:]}
	}
	pieces := []string{fmt.Sprintf(`{%s"id":%q,"type":"function","function":{"name":%q,"arguments":%s}}`, index, call.ID, name, quoted(input[0]))}
	if rest != "" {
		pieces[0] = fmt.Sprintf(`{%s"id":%q,"type":"function","function":{"name":%q,"arguments":""}}`, index, call.ID, name)
		pieces = append(pieces, fmt.Sprintf(`{%s"function":{"name":%q,"arguments":%s}}`, index, rest, quoted(input[0])))
	}
	for _, piece := range input[1:] {
		pieces = append(pieces, fmt.Sprintf(`{%s"function":{"arguments":%s}}`, index, quoted(piece)))
	}
	return pieces
}
