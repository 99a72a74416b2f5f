package wire_test

import (
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/wire"
)

// TestGatheringTakesMemory keeps texts with and without memory: what is kept has been taken from the pool, and a text for
// which there is none is cut, which counts as lost.
func TestGatheringTakesMemory(t *testing.T) {
	pool := memory.New(1 << 20)
	share := pool.Share()
	g := wire.Gathering{Memory: share}
	call := g.Call()
	call.Input.Add(strings.Repeat("x", 4<<10))
	if used := pool.Used(); used != 0 {
		t.Errorf("%d bytes are taken for a short text", used)
	}
	for range 10 {
		call.Input.Add(strings.Repeat("x", 50<<10))
	}
	if used, kept := pool.Used(), int64(len(call.Input.String())); used < kept-8<<10 || used > kept+64<<10 || g.Lost() {
		t.Errorf("%d bytes are taken for a text of %d", used, kept)
	}
	thought := g.Thought("thinking")
	thought.Content.Add(strings.Repeat("y", 10<<20))
	if kept := int64(len(thought.Content.String()) + len(call.Input.String())); kept > pool.Limit()+8<<10 || !g.Lost() {
		t.Errorf("%d bytes are kept", kept)
	}
	var answer wire.Answer
	g.AddTo(&answer)
	if len(answer.ToolCalls) != 1 || len(answer.ToolCalls[0].Input) != 504<<10 {
		t.Errorf("%d calls", len(answer.ToolCalls))
	}
	share.Close()
	if used := pool.Used(); used != 0 {
		t.Errorf("%d bytes are still used", used)
	}
}
