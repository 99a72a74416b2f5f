// Package sse splits a stream of server-sent events into its events and keeps their bytes as they came. It reads lines,
// field names, types and data as the WHATWG's HTML standard says. It ignores ids and retry times, which a relay does
// not need.
//
//	var splitter sse.Splitter
//	for chunk := range chunks {
//		for event := range splitter.Feed(chunk) {
//			…
//		}
//	}
//	for event := range splitter.Flush() {
//		…
//	}
package sse

import "bytes"

// Event is one block of a stream, including the blank line that ends it, or a piece of a large block. A block of
// comments, or a lone blank line, is an Event as well; its Type and Data are nil.
type Event struct {
	// Raw is the block as it came: its lines, the blank line that ends it, and any bytes before its lines, which are a
	// byte order mark or the last byte of the previous line end. The Raw of all events together is the stream.
	Raw []byte
	// Type is the value of the last event field, or nil if there was none.
	Type []byte
	// Data holds the values of the data fields with line feeds between them, or nil if there was none.
	Data []byte
	// Opaque says that Raw is a piece of a block larger than the limit. It was not parsed, so Type and Data are nil.
	Opaque bool
}

// event parses a block, whose lines begin at offset lead of raw.
func (s *Splitter) event(raw []byte, lead int) Event {
	event := Event{Raw: raw}
	joined := false
	lines := findLines(raw)
	for at := lead; at < len(raw); {
		end, next := lines.line(at)
		name, value := field(raw[at:end])
		at = next
		switch string(name) {
		case "event":
			event.Type = value
		case "data":
			switch {
			case event.Data == nil:
				event.Data = value
				continue
			case !joined:
				s.joined = append(s.joined[:0], event.Data...)
				joined = true
			}
			s.joined = append(append(s.joined, '\n'), value...)
			event.Data = s.joined
		}
	}
	s.joined = kept(s.joined)
	return event
}

// field splits a line into a field's name and its value, neither of which is nil. A comment has an empty name.
func field(line []byte) (name, value []byte) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return line, line[len(line):]
	}
	value = line[colon+1:]
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return line[:colon], value
}
