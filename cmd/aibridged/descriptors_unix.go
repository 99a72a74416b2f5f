//go:build unix

package main

import "syscall"

// descriptors returns how many descriptors this process may have open, or zero if that is not known. Go has raised the
// soft limit to the hard one by now.
func descriptors() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur) // It is signed on some systems.
}
