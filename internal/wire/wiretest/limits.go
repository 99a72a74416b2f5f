package wiretest

import (
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// testUnread has a tracker observe only garbage.
func testUnread(t *testing.T, format wire.Format) {
	for _, event := range garbage() {
		sameAnswer(t, track(format, []sse.Event{event}), wire.Answer{Unread: 1})
	}
	// The pieces of a too large event count as one.
	sameAnswer(t, track(format, []sse.Event{{Opaque: true}, {Opaque: true}, {Opaque: true}}), wire.Answer{Unread: 1})
	sameAnswer(t, track(format, quiet()), wire.Answer{})
}

// testBounds has a tracker observe more calls, and longer ones, than it keeps.
func testBounds(t *testing.T, suite Suite) {
	const calls, excess = 4096, 10
	tracker := suite.Format.Track(wire.Stream, nil)
	for i := range calls + excess {
		tracker.Observe(sse.Event{Data: []byte(suite.Call(i, `{"a":1}`))})
	}
	answer := tracker.Answer()
	if len(answer.ToolCalls) != calls || answer.Unread != excess {
		t.Errorf("got %d calls and %d unread, want %d and %d", len(answer.ToolCalls), answer.Unread, calls, excess)
	}

	const limit = 32 << 20
	input := `{"a":"` + strings.Repeat("é", 5<<20) + `"}`
	tracker = suite.Format.Track(wire.Stream, nil)
	for i := range 5 {
		tracker.Observe(sse.Event{Data: []byte(suite.Call(i, input))})
	}
	answer = tracker.Answer()
	kept := 0
	for i, call := range answer.ToolCalls {
		kept += len(call.Input)
		if whole := i < 3; whole != (call.Input == input) || !strings.HasPrefix(input, call.Input) {
			t.Errorf("call %d is whole: %v, want %v, and the beginning of it in any case", i, !whole, whole)
		}
	}
	if kept > limit || answer.Unread != 2 {
		t.Errorf("kept %d bytes with %d unread, want at most %d with 2", kept, answer.Unread, limit)
	}
}
