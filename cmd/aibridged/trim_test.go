package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// TestUnused makes garbage, and checks that it is seen.
func TestUnused(t *testing.T) {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // Else the garbage could be collected, and used again.
	garbage := make([]byte, 64<<20)
	for i := range garbage {
		garbage[i] = 1
	}
	runtime.KeepAlive(garbage)
	if n := unused(); n < 48<<20 { // What was free before may have been used for it.
		t.Errorf("%d bytes unused after 64 MiB of garbage", n)
	}
}
