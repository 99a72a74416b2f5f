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
	ended  bool // The member has.
}

func newMembers(in *bufio.Reader) (*members, error) {
	member, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	member.Multistream(false)
	return &members{in: in, member: member}, nil
}

// Read implements [io.Reader]. It returns the last bytes of a member before it looks for the next one, which may not have
// come yet.
func (m *members) Read(p []byte) (int, error) {
	if m.ended {
		return 0, m.next()
	}
	n, err := m.member.Read(p)
	if err != io.EOF {
		return n, err
	}
	m.ended = true
	if n > 0 {
		return n, nil
	}
	return 0, m.next()
}

// next goes on to the next member. It returns [io.EOF] if there is none.
func (m *members) next() error {
	switch head, err := m.in.Peek(2); {
	case string(head) == "\x1f\x8b":
		err := m.member.Reset(m.in)
		m.member.Multistream(false)
		m.ended = err != nil
		return err
	case err != nil && err != io.EOF:
		return err
	case string(head) == "\x1f":
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}
