package crashtest

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// dropArriving makes the system drop whatever arrives at a socket, so that the peer gets no acknowledgement, or no longer.
// Where the system cannot do that, the relay alone keeps bytes back.
func dropArriving(socket syscall.Conn, drop bool) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return // It is closed.
	}
	_ = raw.Control(func(descriptor uintptr) {
		if !drop {
			_ = unix.SetsockoptInt(int(descriptor), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
			return
		}
		nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
		_ = unix.SetsockoptSockFprog(int(descriptor), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
	})
}
