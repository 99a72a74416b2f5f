package aibridge

import (
	"io"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

// TestOutgoing checks that a body with edits is sent as often as one likes, without a copy, and that its buffer goes back when the
// last user has released it.
func TestOutgoing(t *testing.T) {
	pool := poisoned()
	body := lent(t, pool, `{"a":1,"b":2}`)
	raw := body.bytes
	out, err := edited(body, []jsonedit.Edit{{Start: 12, End: 12, New: []byte(`,"c":3`)}, {Start: 5, End: 6, New: []byte("10")}})
	if err != nil {
		t.Fatal(err)
	}
	body.release()
	const want = `{"a":10,"b":2,"c":3}`
	for range 2 {
		if got, err := io.ReadAll(out.reader()); string(got) != want || err != nil || out.length() != int64(len(want)) {
			t.Errorf("%s, %v, %d bytes", got, err, out.length())
		}
	}
	if used, size := pool.Used(), int64(cap(raw)); used != size {
		t.Errorf("%d bytes are used, want the %d of the body", used, size)
	}
	out.release()
	out.release()
	if used := pool.Used(); used != 0 || string(raw) == `{"a":1,"b":2}` {
		t.Errorf("%d bytes are used, the buffer has %s", used, raw)
	}
}

// TestOutgoingRefuses checks that edits which cannot be made hold nothing.
func TestOutgoingRefuses(t *testing.T) {
	pool := poisoned()
	body := lent(t, pool, `{}`)
	if _, err := edited(body, []jsonedit.Edit{{Start: 1, End: 9}}); err == nil {
		t.Error("it edits what is behind the end")
	}
	body.release()
	if used := pool.Used(); used != 0 {
		t.Errorf("%d bytes are used", used)
	}
}
