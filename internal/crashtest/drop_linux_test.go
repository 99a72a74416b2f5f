package crashtest

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// dropArriving makes the system drop whatever arrives at a socket, so that the peer gets no acknowledgement, or no longer:
// packets on this machine have a time to live of 64, and the socket takes none with less than 255. Where the system cannot
// do that, the relay alone keeps bytes back.
func dropArriving(socket syscall.Conn, drop bool) {
	least := 0
	if drop {
		least = 255
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return // It is closed.
	}
	_ = raw.Control(func(descriptor uintptr) {
		_ = unix.SetsockoptInt(int(descriptor), unix.IPPROTO_IP, unix.IP_MINTTL, least)
	})
}
