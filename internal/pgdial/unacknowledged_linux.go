package pgdial

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// boundUnacknowledged bounds how long what was sent may stay unacknowledged before the connection counts as broken.
// Otherwise the system waits for a quarter of an hour.
func boundUnacknowledged(_, _ string, conn syscall.RawConn) error {
	var failure error
	err := conn.Control(func(descriptor uintptr) {
		failure = unix.SetsockoptInt(int(descriptor), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
	})
	_ = failure // A socket that is no TCP has no such option.
	return err
}
