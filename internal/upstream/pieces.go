package upstream

import (
	"io"
	"net"
)

// Pieces returns a request's body that consists of pieces, which nobody may change while it is read. Where it goes over TCP as it
// is, a transport of this package writes all of it in one system call, without a copy; elsewhere it is read like any other body.
// It is not safe for concurrent use. Close does nothing.
func Pieces(pieces ...[]byte) io.ReadCloser {
	return &piecesReader{left: append(net.Buffers(nil), pieces...)}
}

// piecesReader is what is left to read of some pieces.
type piecesReader struct{ left net.Buffers }

// Read implements [io.Reader].
func (p *piecesReader) Read(b []byte) (int, error) { return p.left.Read(b) }

// WriteTo implements [io.WriterTo].
func (p *piecesReader) WriteTo(w io.Writer) (int64, error) { return p.left.WriteTo(w) }

// Close implements [io.Closer].
func (p *piecesReader) Close() error { return nil }

// size returns how many bytes are left.
func (p *piecesReader) size() (n int64) {
	for _, piece := range p.left {
		n += int64(len(piece))
	}
	return n
}
