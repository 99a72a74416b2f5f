package controlplane

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
)

// heardConn knows whether its other end has sent anything. One that has not, and has left, was a probe of a service manager or a
// balancer, which looks several times a minute whether the port is open.
type heardConn struct {
	net.Conn

	sent atomic.Bool // The other end has sent something.
	left atomic.Bool // The other end has closed the connection or reset it.
}

// Read implements [net.Conn].
func (c *heardConn) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	if n > 0 {
		c.sent.Store(true)
	}
	if err != nil && !isOurs(err) {
		c.left.Store(true)
	}
	return n, err
}

// isProbe reports whether the other end has left without a word.
func (c *heardConn) isProbe() bool { return c.left.Load() && !c.sent.Load() }

// isOurs reports whether a read failed for a reason of this end: it was closed here, or waited too long.
func isOurs(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrDeadlineExceeded)
}
