package wire

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/storable"
)

const (
	// textLimit is how many bytes of one answer's tool calls and thoughts are kept.
	textLimit = 32 << 20
	// partLimit is how many tool calls of one answer are kept, and how many thoughts.
	partLimit = 4096
)

// Gathering collects an answer's tool calls and thoughts from the pieces of a stream, in the order in which they began.
// It keeps at most 32 MiB of text, 4,096 calls and 4,096 thoughts. The zero Gathering is empty and ready to use.
type Gathering struct {
	// Memory is what the text takes its memory from. Nil has no limit.
	Memory   *memory.Share
	calls    []*Call
	thoughts []*Thinking
	room     room
}

// Call is a tool call whose pieces are being collected.
type Call struct {
	ID     string
	ItemID string
	Name   string
	// Default is the input of a call without input.
	Default string
	// Origin says where the tool comes from.
	Origin map[string]string
	// Input is the input so far.
	Input Text
}

// Thinking is a thought whose pieces are being collected.
type Thinking struct {
	// Redacted says that the upstream shows the thought only in a form that nobody can read. It counts only where there is
	// no content.
	Redacted bool
	// Echoes is the thought that may have the same content under another name, or nil: the same content counts once.
	Echoes *Thinking
	// Content is the content so far.
	Content Text
	source  string
}

// Call begins a tool call. It returns nil where partLimit is reached.
func (g *Gathering) Call() *Call {
	if len(g.calls) == partLimit {
		g.room.lost = true
		return nil
	}
	call := &Call{Input: Text{room: g.withMemory()}}
	g.calls = append(g.calls, call)
	return call
}

// Thought begins a thought. It returns nil where partLimit is reached.
func (g *Gathering) Thought(source string) *Thinking {
	if len(g.thoughts) == partLimit {
		g.room.lost = true
		return nil
	}
	thought := &Thinking{source: source, Content: Text{room: g.withMemory()}}
	g.thoughts = append(g.thoughts, thought)
	return thought
}

// Keep returns a copy of s, which counts as text, or "" where there is no room for it.
func (g *Gathering) Keep(s string) string {
	if g.withMemory().take(s) != s {
		return ""
	}
	return strings.Clone(s)
}

func (g *Gathering) withMemory() *room {
	g.room.memory = g.Memory
	return &g.room
}

// Lost reports whether anything did not fit since the last call of Lost.
func (g *Gathering) Lost() bool {
	lost := g.room.lost
	g.room.lost = false
	return lost
}

// AddTo adds the calls and thoughts to answer. It leaves out thoughts without content, unless they are redacted.
func (g *Gathering) AddTo(answer *Answer) {
	for _, call := range g.calls {
		input := call.Input.String()
		if input == "" {
			input = call.Default
		}
		answer.ToolCalls = append(answer.ToolCalls, ToolCall{call.ID, call.ItemID, call.Name, input, maps.Clone(call.Origin)})
	}
	for _, thought := range g.thoughts {
		content := thought.Content.String()
		if thought.Echoes != nil && content == thought.Echoes.Content.String() {
			continue
		}
		if content != "" || thought.Redacted {
			answer.Thoughts = append(answer.Thoughts, Thought{thought.source, content, content == ""})
		}
	}
}

// ReadOrigin notes where the tool of a call comes from, as far as the object says it.
func (g *Gathering) ReadOrigin(call *Call, object gjson.Result) {
	for _, name := range [...]string{"namespace", "server_label", "server_name"} {
		if text := String(object.Get(name)); text != "" && call.Origin[name] == "" {
			if call.Origin == nil {
				call.Origin = make(map[string]string, 1)
			}
			call.Origin[name] = g.Keep(text)
		}
	}
}

// Tellers is how many tellers a [Text] tells apart.
const Tellers = 8

// Text grows piece by piece, as long as its gathering has room. The same text may be told by several tellers, for example
// under two names or once more as a whole: it counts once.
type Text struct {
	written strings.Builder
	room    *room
	heard   [Tellers]int // How much of the text each teller has told.
	last    int          // Where the piece of JSON began that may have been all of the text, or 0.
	grows   bool         // A piece of JSON was all of the text so far, and more.
}

// Add appends a piece of the first teller's.
func (t *Text) Add(piece string) { t.AddFrom(0, piece) }

// AddFrom appends a teller's next piece, or as much of it as continues the text: a teller that lags behind may repeat what
// others have told.
func (t *Text) AddFrom(teller int, piece string) {
	if rest := t.written.String()[t.heard[teller]:]; rest != "" {
		if strings.HasPrefix(rest, piece) {
			t.heard[teller] += len(piece)
			return
		}
		piece = strings.TrimPrefix(piece, rest)
	}
	t.append(piece)
	t.heard[teller] = t.written.Len()
}

// AddJSON is Add for a text that is JSON. Some servers repeat in each piece all that came before. A piece that begins with
// the text so far is taken for such a repetition if the text would be no JSON with the piece behind it. While that does not
// tell, only the last piece needs to be repeated.
func (t *Text) AddJSON(piece string) {
	soFar := t.written.String()
	last := soFar[t.last:]
	switch {
	case last == "" || !strings.HasPrefix(piece, last):
		t.last = 0
		t.Add(piece)
	case !t.grows && goesOn(soFar, piece):
		t.last = len(soFar)
		t.Add(piece)
	default:
		t.grows, t.last = true, 0
		if last != soFar {
			t.Replace(piece)
		} else {
			t.Complete(piece)
		}
		t.Heard(0)
	}
}

// goesOn reports whether a text can be the beginning of a JSON object or array with a piece behind it. It reports true for
// other texts, of which nobody can tell.
func goesOn(text, piece string) bool {
	if text[0] != '{' && text[0] != '[' {
		return true
	}
	var value json.RawMessage
	values := json.NewDecoder(io.MultiReader(strings.NewReader(text), strings.NewReader(piece)))
	err := values.Decode(&value)
	if err == nil {
		_, err = values.Token() // Nothing but white space may follow.
		return errors.Is(err, io.EOF)
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}

// Heard notes that a teller has told all of the text so far.
func (t *Text) Heard(teller int) { t.heard[teller] = t.written.Len() }

// Again notes that the first teller begins anew, and may repeat all.
func (t *Text) Again() { t.heard[0] = 0 }

// Complete adds what whole, the text from its beginning, has beyond the text so far. A whole that begins otherwise adds
// nothing.
func (t *Text) Complete(whole string) {
	if rest, ok := strings.CutPrefix(whole, t.written.String()); ok {
		t.append(rest)
	}
}

// Replace replaces the pieces by whole: the last report counts. An empty whole replaces nothing.
func (t *Text) Replace(whole string) {
	if whole == "" || whole == t.written.String() {
		return
	}
	if t.room.full {
		t.room.lost = true
		return
	}
	t.room.used -= t.written.Len()
	t.written.Reset()
	t.append(whole)
	for teller := range t.heard {
		t.Heard(teller)
	}
}

func (t *Text) append(piece string) { t.written.WriteString(t.room.take(piece)) }

// String returns the text so far.
func (t *Text) String() string { return t.written.String() }

// room counts what is kept.
type room struct {
	memory *memory.Share
	taken  int // How much memory has been taken for text.
	used   int
	// full says that a text did not fit. From then on none does: a text with a gap would be taken for the model's own.
	full bool
	lost bool // Something was left out since the last call of Lost.
}

// take returns as much of the beginning of s as there is room for, in whole characters.
func (r *room) take(s string) string {
	if !r.full {
		fits := storable.Cut(s, r.left(len(s)))
		r.used += len(fits)
		r.full = len(fits) < len(s)
		r.lost = r.lost || r.full
		return fits
	}
	r.lost = r.lost || s != ""
	return ""
}

const (
	// uncounted is how much text is kept without taking memory for it: most answers have no more.
	uncounted = 8 << 10
	// memoryStep is how much memory is taken at a time.
	memoryStep = 64 << 10
)

// left returns how many bytes there is room for, once memory has been taken for n more.
func (r *room) left(n int) int {
	if want := min(r.used+n, textLimit); want > uncounted+r.taken {
		more := (want - uncounted - r.taken + memoryStep - 1) / memoryStep * memoryStep
		if r.memory.Take(int64(more)) != nil {
			return uncounted + r.taken - r.used
		}
		r.taken += more
	}
	return textLimit - r.used
}
