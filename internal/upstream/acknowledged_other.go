//go:build !linux

package upstream

import "net"

// acknowledged returns how many of the bytes that were written to a connection its peer has acknowledged, and whether
// that is known. Here it is not.
func acknowledged(net.Conn) (n int64, known bool) { return 0, false }
