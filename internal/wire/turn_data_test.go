package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/wire"
)

func TestTurnData(t *testing.T) {
	var data wire.TurnData
	events := []string{"{}", "", strings.Repeat("x", 300), "y"}
	for range 2 {
		for _, event := range events {
			data.Add([]byte(event))
		}
		n := 0
		for got := range data.All() {
			if string(got) != events[n] {
				t.Errorf("event %d is %q, want %q", n, got, events[n])
			}
			n++
		}
		if n != len(events) || data.Err() != nil {
			t.Errorf("%d events, %v", n, data.Err())
		}
		data.Reset()
	}
}

// TestTurnDataBounds has turns for which there is no memory, or that are too large. Nothing of these is left.
func TestTurnDataBounds(t *testing.T) {
	pool := memory.New(1 << 20)
	for name, data := range map[string]*wire.TurnData{
		"no memory": {Memory: pool.Share()},
		"too large": {},
	} {
		piece := bytes.Repeat([]byte("x"), 1<<20)
		for range 40 {
			data.Add(piece)
		}
		for range data.All() {
			t.Errorf("%s: part of a turn is left", name)
		}
		if !errors.Is(data.Err(), wire.ErrTurnTooLarge) {
			t.Errorf("%s: %v", name, data.Err())
		}
		data.Memory.Close()
	}
	if pool.Used() != 0 {
		t.Errorf("%d bytes are still used", pool.Used())
	}
}
