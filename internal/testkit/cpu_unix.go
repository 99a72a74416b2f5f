//go:build unix

package testkit

import (
	"syscall"
	"testing"
	"time"
)

// CPUTime returns the CPU time that this process has used. It skips a benchmark on systems that do not tell.
func CPUTime(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
