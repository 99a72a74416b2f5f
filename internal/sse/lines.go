package sse

import "bytes"

// lineFinder finds the lines of a text from its beginning to its end. It remembers the positions of the next LF and the
// next CR, and so looks at each byte at most twice, however many lines there are and whatever ends them.
type lineFinder struct {
	text   []byte
	lf, cr int // Offsets of the next ones, or of the text's end. One below the offset asked for must be searched again.
}

func findLines(text []byte) lineFinder { return lineFinder{text: text, lf: -1, cr: -1} }

// line returns the end of the line that begins at offset at, and the beginning of the next line. Both are the end of
// the text if nothing ends the line. A CR at the end of the text ends the line, even if a LF would have followed.
func (f *lineFinder) line(at int) (end, next int) {
	if f.lf < at {
		f.lf = f.find('\n', at)
	}
	if f.cr < at {
		f.cr = f.find('\r', at)
	}
	switch {
	case f.lf < f.cr:
		return f.lf, f.lf + 1
	case f.cr == len(f.text):
		return f.cr, f.cr
	case f.lf == f.cr+1 && f.lf < len(f.text):
		return f.cr, f.lf + 1
	default:
		return f.cr, f.cr + 1
	}
}

// find returns the offset of the first c at or after offset at, or of the text's end.
func (f *lineFinder) find(c byte, at int) int {
	if i := bytes.IndexByte(f.text[at:], c); i >= 0 {
		return at + i
	}
	return len(f.text)
}
