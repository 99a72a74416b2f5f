package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// upstreamConn is a connection that writes in pieces, each with a deadline of its own: a slow upstream takes each piece in
// time, and only one that stops reading meets a deadline. It also knows how much of what was written the upstream had
// acknowledged when the connection ended.
type upstreamConn struct {
	net.Conn
	limit   time.Duration
	written atomic.Int64

	handshake int64 // What counts as acknowledged before the first byte is written.

	end          sync.Once
	acknowledged int64 // Set by end.
	known        bool  // Set by end; acknowledged is known.
}

// newUpstreamConn returns a connection around conn, to which nothing has been written yet.
func newUpstreamConn(conn net.Conn, limit time.Duration) *upstreamConn {
	handshake, _ := acknowledged(conn)
	return &upstreamConn{Conn: conn, limit: limit, handshake: handshake}
}

// Read implements [net.Conn].
func (c *upstreamConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.ended()
	}
	return n, err
}

// Close implements [net.Conn].
func (c *upstreamConn) Close() error {
	c.ended()
	return c.Conn.Close()
}

// ended notes what is acknowledged when the connection ends.
func (c *upstreamConn) ended() {
	c.end.Do(func() {
		n, known := acknowledged(c.Conn)
		c.acknowledged, c.known = n-c.handshake, known
	})
}

// atItsEnd returns how much was acknowledged when the connection ended, and whether that is known.
func (c *upstreamConn) atItsEnd() (acknowledged int64, known bool) {
	c.ended()
	return c.acknowledged, c.known
}

// pieceBytes is the most that an upstream has to take within one limit.
const pieceBytes = 256 << 10

// Write implements [net.Conn].
func (c *upstreamConn) Write(p []byte) (written int, err error) {
	for {
		piece := p[:min(len(p), pieceBytes)]
		if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(piece)
		written += n
		c.written.Add(int64(n))
		if p = p[n:]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// ReadFrom implements [io.ReaderFrom], through which net/http sends a request's body. A body in memory is written
// directly, and not through a buffer.
func (c *upstreamConn) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return io.Copy(writerOnly{c}, r)
	}
	if pieces, ok := limited.R.(*piecesReader); ok && pieces.size() <= min(limited.N, pieceBytes) {
		n, err := c.writeBuffers(&pieces.left)
		limited.N -= n
		return n, err
	}
	body, ok := limited.R.(io.WriterTo)
	if !ok {
		return io.Copy(writerOnly{c}, r)
	}
	n, err := body.WriteTo(&limitedWriter{c, limited.N})
	limited.N -= n
	if errors.Is(err, errLimit) {
		err = nil
	}
	return n, err
}

// writeBuffers writes what an upstream has to take within one limit.
func (c *upstreamConn) writeBuffers(buffers *net.Buffers) (int64, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := buffers.WriteTo(c.Conn)
	c.written.Add(n)
	return n, err
}

// writerOnly hides ReadFrom.
type writerOnly struct{ io.Writer }

// errLimit says that a body is longer than announced. The rest is not written.
var errLimit = errors.New("end of the body")

type limitedWriter struct {
	w    io.Writer
	left int64
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) <= l.left {
		n, err := l.w.Write(p)
		l.left -= int64(n)
		return n, err
	}
	n, err := l.w.Write(p[:l.left])
	l.left -= int64(n)
	if err == nil {
		err = errLimit
	}
	return n, err
}
