package sse

import (
	"bytes"
	"slices"
	"testing"
)

// An event within one chunk is not copied: it allocates no memory, and its slices point into the chunk.
func TestNoCopy(t *testing.T) {
	var splitter Splitter
	chunk := []byte("event: ping\ndata: {\"type\":\"ping\"}\n\n")
	feed := func() {
		for event := range splitter.Feed(chunk) {
			if &event.Raw[0] != &chunk[0] || &event.Type[0] != &chunk[7] || &event.Data[0] != &chunk[18] {
				t.Errorf("%+v is a copy", event)
			}
		}
	}
	if n := testing.AllocsPerRun(100, feed); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A large event in many chunks leaves no memory allocated, whether it was parsed, passed on in pieces, or not taken.
func TestIdleMemory(t *testing.T) {
	large := slices.Concat(bytes.Repeat([]byte("data: 0123456789\n"), 1<<16), []byte("\ndata: x"))
	tests := []struct {
		name  string
		limit int
		stop  bool
	}{
		{"parsed", 0, false},
		{"given up", 1 << 16, false},
		{"stopped", 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			splitter := Splitter{Limit: test.limit}
			for chunk := range slices.Chunk(large, 1<<15) {
				for range splitter.Feed(chunk) {
					if test.stop {
						break
					}
				}
			}
			for range splitter.Feed([]byte("\n\n")) {
			}
			if n := cap(splitter.tail) + cap(splitter.rest) + cap(splitter.joined); n > 3*maxKept {
				t.Errorf("keeps %d bytes", n)
			}
			if splitter.Oversized() != 0 != (test.limit != 0) {
				t.Errorf("%d oversized", splitter.Oversized())
			}
		})
	}
}
