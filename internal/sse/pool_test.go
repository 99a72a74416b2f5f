package sse_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
)

// TestPool splits streams of large events with buffers of a pool. As long as there is memory, nothing differs; without,
// the events come in pieces. The bytes are the same in any case, no event is used after its buffer went back, and the
// memory goes back.
func TestPool(t *testing.T) {
	sizes := []int{3 << 10, 5 << 10, 20 << 10, 100, 300 << 10, 1200 << 10, 5 << 10}
	var stream strings.Builder
	var want []said
	for i, size := range sizes {
		text := strings.Repeat(string(rune('a'+i)), size)
		stream.WriteString("data: " + text + "\n\n")
		want = append(want, data(text))
	}
	for _, test := range []struct {
		name      string
		limit     int64
		oversized int
	}{
		{"enough", 64 << 20, 0}, {"for some", 2 << 20, 1}, {"for none", 1 << 10, 4}, // A fifth may end in the chunk that it begins in.
	} {
		for _, chunk := range []int{1 << 10, 4 << 10, 50 << 10, 2 << 20} {
			pool := memory.New(test.limit)
			pool.Poison()
			splitter := sse.Splitter{Pool: pool}
			var got reading
			for piece := range slices.Chunk([]byte(stream.String()), chunk) {
				got.add(splitter.Feed(piece))
			}
			got.add(splitter.Flush())
			if got.text() != stream.String() {
				t.Errorf("%s, chunks of %d: the bytes differ", test.name, chunk)
			}
			if test.oversized == 0 && !slices.Equal(got.events, want) {
				t.Errorf("%s, chunks of %d: events of %d bytes", test.name, chunk, len(got.text()))
			}
			if n := splitter.Oversized(); chunk < 50<<10 && n != test.oversized && (test.limit > 1<<10 || n != test.oversized+1) {
				t.Errorf("%s, chunks of %d: %d oversized, want %d", test.name, chunk, n, test.oversized)
			}
			splitter.Close()
			if used := pool.Used(); used != 0 {
				t.Errorf("%s, chunks of %d: %d bytes are still used", test.name, chunk, used)
			}
		}
	}
}

// TestCloseWithin closes a splitter in the middle of an event.
func TestCloseWithin(t *testing.T) {
	pool := memory.New(64 << 20)
	splitter := sse.Splitter{Pool: pool}
	for range 10 {
		for range splitter.Feed([]byte("data: " + strings.Repeat("x", 5<<10))) {
			t.Error("an event")
		}
	}
	if pool.Used() == 0 {
		t.Error("the pool lends nothing")
	}
	splitter.Close()
	if used := pool.Used(); used != 0 {
		t.Errorf("%d bytes are still used", used)
	}
}
