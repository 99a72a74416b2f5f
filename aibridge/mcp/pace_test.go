package mcp

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		wait := func() time.Duration {
			begin := time.Now()
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			return time.Since(begin)
		}
		for i, want := range []time.Duration{0, 1, 2, 4, 8, 16, 32, 64, 120, 120} {
			if got := wait(); got != want*time.Second {
				t.Errorf("attempt %d waits for %v, want %v", i, got, want*time.Second)
			}
		}
		_ = pause(t.Context(), steady+time.Second) // As long as a stream that works.
		if got := wait(); got != 0 {
			t.Errorf("after a steady stream it waits for %v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.wait(ctx); err == nil {
			t.Error("waited without a context")
		}
	})
}
