package contentcoding

import (
	"bufio"
	"compress/gzip"
	"io"
)

// members decodes the members of a gzip body one after another (RFC 1952, section 2.2). A [gzip.Reader] would do so itself,
// but it takes other bytes behind a member for the beginning of one that is cut off.
type members struct {
	in     *bufio.Reader
	member *gzip.Reader
}

func newMembers(in *bufio.Reader) (*members, error) {
	member, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	member.Multistream(false)
	return &members{in, member}, nil
}

// Read implements [io.Reader].
func (m *members) Read(p []byte) (int, error) {
	n, err := m.member.Read(p)
	if err != io.EOF {
		return n, err
	}
	switch head, err := m.in.Peek(2); {
	case string(head) == "\x1f\x8b":
		err := m.member.Reset(m.in)
		m.member.Multistream(false)
		return n, err
	case err != nil && err != io.EOF:
		return n, err
	case string(head) == "\x1f":
		return n, io.ErrUnexpectedEOF
	}
	return n, io.EOF
}
