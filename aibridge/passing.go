package aibridge

import (
	"bytes"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
)

// mostLine is the longest line that is held until it is whole. What an event that is withheld says is much shorter.
const mostLine = 64 << 10

// passing gathers the bytes of a stream that go to the client. If events may have to be withheld, each line of the
// stream is passed on once it is whole, with its bytes unchanged, and lines such as an event's type once the data behind
// them is; otherwise all bytes are passed on as they come. It does not wait for the blank line that ends an event, which
// some servers leave out. The zero passing withholds nothing.
type passing struct {
	// withhold reports whether an event exists only because the gateway asked for it. Nil: no event does.
	withhold func(sse.Event) bool

	ready []byte // For the client.
	room  []byte // The buffer of ready.
	line  []byte // The beginning of a line that has not ended.
	event []byte // The lines of an event whose data has not come, or not all of it.
	data  []byte // The beginning of data that has several lines.

	begun    bool
	long     bool // The current line is too long to be withheld: it is passed on as it comes.
	withheld bool // The data of the current event is withheld.
	afterCR  bool // The last line ended with a CR: a LF that follows belongs to the same line end.
	last     fate // Of the last line, and of that LF.
}

// fate is what happens to a line.
type fate int

const (
	passed fate = iota
	held
	dropped
)

// add adds a piece of the stream.
func (p *passing) add(piece []byte) {
	if p.withhold == nil {
		if len(piece) > 0 {
			p.ready = piece
		}
		return
	}
	for len(piece) > 0 {
		if p.afterCR {
			p.afterCR = false
			if piece[0] == '\n' {
				p.lineEnd()
				piece = piece[1:]
				continue
			}
		}
		end := bytes.IndexAny(piece, "\r\n")
		if end < 0 {
			p.begin(piece)
			return
		}
		p.afterCR = piece[end] == '\r'
		p.end(piece[:end+1])
		piece = piece[end+1:]
	}
}

// lineEnd adds the LF behind a CR.
func (p *passing) lineEnd() {
	switch p.last {
	case passed:
		p.ready = append(p.ready, '\n')
	case held:
		p.event = append(p.event, '\n')
	}
}

// begin adds the beginning of a line.
func (p *passing) begin(part []byte) {
	if !p.long && len(p.line)+len(part) <= mostLine {
		p.line = append(p.line, part...)
		return
	}
	if !p.long {
		p.long, p.withheld = true, false
		p.release()
		p.ready = append(p.ready, p.line...)
		p.line = p.line[:0]
	}
	p.ready = append(p.ready, part...)
}

// end adds the end of a line.
func (p *passing) end(part []byte) {
	if p.long {
		p.long, p.last = false, passed
		p.ready = append(p.ready, part...)
		return
	}
	line := part
	if len(p.line) > 0 {
		p.line = append(p.line, part...)
		line = p.line
	}
	switch p.last = p.judge(line); p.last {
	case passed:
		p.release()
		p.ready = append(p.ready, line...)
	case held:
		p.event = append(p.event, line...)
	}
	p.line = p.line[:0]
}

// judge returns what happens to a line.
func (p *passing) judge(line []byte) fate {
	text := bytes.TrimRight(line, "\r\n")
	if !p.begun {
		p.begun = true
		text = bytes.TrimPrefix(text, []byte(byteOrderMark))
	}
	data, isData := dataOf(text)
	switch {
	case isData:
		goesOn := isBegun(data)
		if len(p.data) > 0 {
			p.data = append(append(p.data, '\n'), data...)
			data = p.data
			var json jsonedit.Prefix
			json.Feed(data)
			goesOn = json.Cut()
		}
		p.withheld = p.withhold(sse.Event{Data: data})
		switch {
		case p.withheld:
			p.event, p.data = p.event[:0], p.data[:0]
			return dropped
		case goesOn && len(p.event) <= mostLine:
			p.data = append(p.data[:0], data...)
			return held
		}
		p.data = p.data[:0]
		return passed
	case len(text) == 0: // The end of an event.
		wasWithheld := p.withheld
		p.withheld, p.data = false, p.data[:0]
		if wasWithheld {
			return dropped
		}
		return passed
	case p.withheld:
		return dropped
	case !isField(text) && len(p.event) == 0: // A comment, or no stream of events at all.
		return passed
	case len(p.event) > mostLine:
		return passed
	}
	return held
}

// isField reports whether a line is a field of an event beside its data.
func isField(line []byte) bool {
	name, _, _ := bytes.Cut(line, []byte(":"))
	switch string(name) {
	case "event", "id", "retry":
		return true
	}
	return false
}

// release passes on the lines that waited for their event's data.
func (p *passing) release() {
	p.ready = append(p.ready, p.event...)
	p.event = p.event[:0]
}

// isBegun reports whether a line of data seems to be the beginning of an object that goes on in the next line. It looks
// only at its ends, since a stream has thousands of lines.
func isBegun(data []byte) bool {
	return bytes.HasPrefix(data, []byte("{")) && !bytes.HasSuffix(bytes.TrimRight(data, " \t"), []byte("}"))
}

// dataOf returns the value of a data field.
func dataOf(line []byte) ([]byte, bool) {
	value, ok := bytes.CutPrefix(line, []byte("data"))
	if !ok || len(value) > 0 && value[0] != ':' {
		return nil, false
	}
	return bytes.TrimPrefix(bytes.TrimPrefix(value, []byte(":")), []byte(" ")), true
}

// finish adds what is left at the end of the stream.
func (p *passing) finish() {
	if p.withhold == nil {
		return
	}
	if len(p.line) > 0 {
		p.end(nil)
	}
	p.release()
}

// take returns the bytes for the client since the last call. They are valid until the next piece is added.
func (p *passing) take() []byte {
	ready := p.ready
	if p.withhold != nil {
		p.room = ready[:0]
	}
	p.ready = p.room
	return ready
}
