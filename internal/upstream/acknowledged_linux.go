package upstream

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// acknowledged returns how many of the bytes that were written to a connection its peer has acknowledged, and whether
// that is known. The first byte of all is that of the handshake. It is also known of a connection that has died, as long
// as it is not closed.
func acknowledged(conn net.Conn) (n int64, known bool) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, false
	}
	var info *unix.TCPInfo
	var failed error
	err = raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil || failed != nil || info.Bytes_acked == 0 { // A kernel that does not count has none.
		return 0, false
	}
	return int64(info.Bytes_acked), true
}
