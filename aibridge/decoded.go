package aibridge

import (
	"io"
	"net/http"

	"github.com/coder/aibridged/internal/contentcoding"
)

// decoded is the body of an answer without its content coding. It counts the bytes as they come.
type decoded struct {
	io.ReadCloser

	x       *relay
	decoder *contentcoding.Stream
	buffer  []byte
	plain   []byte // Decoded, and not read yet.
	err     error  // With which the coded body ended.
}

// decode takes the content coding from an answer that may be one of several rounds: the client gets what is made of all of
// them, and that has none. An answer in an unknown coding stays as it is, and can be no part of several.
func (x *relay) decode(answer *http.Response, round *round) {
	decoder, err := contentcoding.NewStream(round.coding, mostRead, round.pool)
	if err != nil {
		round.joint = nil
		return
	}
	answer.Body = &decoded{ReadCloser: answer.Body, x: x, decoder: decoder, buffer: make([]byte, copyBytes)}
	answer.ContentLength = -1
	for _, name := range [...]string{"Content-Encoding", "Content-Length"} {
		answer.Header.Del(name)
	}
	withoutDigests(answer.Header)
	round.coding, x.decodes = "", true
}

// withoutDigests takes what says which bytes a body has out of the header of one that has others.
func withoutDigests(header http.Header) {
	for _, name := range [...]string{"Etag", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		header.Del(name)
	}
}

// Read implements [io.Reader].
func (d *decoded) Read(p []byte) (int, error) {
	for len(d.plain) == 0 && d.err == nil {
		n, err := d.ReadCloser.Read(d.buffer)
		d.x.count(d.buffer[:n])
		for piece := range d.decoder.Feed(d.buffer[:n]) {
			d.plain = append(d.plain, piece...)
		}
		if err == nil {
			continue
		}
		if isEnd(err) {
			for piece := range d.decoder.End() {
				d.plain = append(d.plain, piece...)
			}
			if broken := d.decoder.Err(); broken != nil {
				err = broken
			}
		}
		d.err = err
	}
	n := copy(p, d.plain)
	d.plain = d.plain[:copy(d.plain, d.plain[n:])]
	if len(d.plain) == 0 {
		return n, d.err
	}
	return n, nil
}

// Close implements [io.Closer].
func (d *decoded) Close() error {
	d.decoder.Close()
	return d.ReadCloser.Close()
}
