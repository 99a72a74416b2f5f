//go:build !linux

package pgdial

import "syscall"

// boundUnacknowledged does nothing: on these systems keep-alive alone tells that a peer is gone.
func boundUnacknowledged(_, _ string, _ syscall.RawConn) error { return nil }
