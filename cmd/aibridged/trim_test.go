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
	before := unused()
	garbage := make([]byte, 64<<20)
	for i := range garbage {
		garbage[i] = 1
	}
	runtime.KeepAlive(garbage)
	if after := unused(); after < before+32<<20 {
		t.Errorf("%d bytes unused, and %d after 64 MiB of garbage", before, after)
	}
}
