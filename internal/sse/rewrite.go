package sse

import "bytes"

// AppendWithData appends the event to dst with other data: its other lines, and the bytes that end them, stay as they
// came. The data stands where the last line of the event's data stood. An event without data is appended as it is.
func (e Event) AppendWithData(dst, data []byte) []byte {
	if e.Data == nil {
		return append(dst, e.Raw...)
	}
	last := -1
	for at, line := range e.lines() {
		if line.isData {
			last = at
		}
	}
	for at, line := range e.lines() {
		switch {
		case at == last:
			dst = appendData(append(dst, line.lead...), line.begin, data, line.end)
		case line.isData:
			dst = append(dst, line.lead...)
		default:
			dst = append(append(append(append(dst, line.lead...), line.begin...), line.value...), line.end...)
		}
	}
	return dst
}

// rawLine is one line of an event.
type rawLine struct {
	lead, begin, value, end []byte // Together they are the line. Lead belongs to no line, and begin is all before the value.
	isData                  bool
}

// lines returns the event's lines and the offsets at which they begin.
func (e Event) lines() func(yield func(int, rawLine) bool) {
	return func(yield func(int, rawLine) bool) {
		lines, lead := findLines(e.Raw), e.lead()
		for at := 0; at < len(e.Raw); {
			end, next := lines.line(max(at, lead))
			start := max(at, lead)
			name, value := field(e.Raw[start:end])
			line := rawLine{
				lead: e.Raw[at:start], begin: e.Raw[start : end-len(value)], value: value, end: e.Raw[end:next],
				isData: string(name) == "data",
			}
			if !yield(at, line) {
				return
			}
			at = next
		}
	}
}

// appendData appends lines of data. The first begins as the line whose place they take, and all end as that one.
func appendData(dst, begin, data, end []byte) []byte {
	if len(begin) == len("data") && len(data) > 0 {
		begin = []byte("data:") // It had no value.
	}
	for {
		line, rest, more := bytes.Cut(data, []byte{'\n'})
		dst = append(append(append(dst, begin...), line...), end...)
		if !more {
			return dst
		}
		if len(end) == 0 {
			dst = append(dst, '\n')
		}
		begin, data = []byte("data: "), rest
	}
}

// lead returns how many bytes stand before the event's first line: a byte order mark, or the last byte of the line end of
// the event before.
func (e Event) lead() int {
	switch {
	case bytes.HasPrefix(e.Raw, []byte(byteOrderMark)):
		return len(byteOrderMark)
	case len(e.Raw) > 1 && e.Raw[0] == '\n' && e.Raw[1] != '\n' && e.Raw[1] != '\r':
		return 1
	}
	return 0
}
