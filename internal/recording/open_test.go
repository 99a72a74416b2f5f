package recording

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridge"
)

// TestOpenInterceptions follows a log through a snapshot in its middle.
func TestOpenInterceptions(t *testing.T) {
	t.Parallel()
	ids := make([]uuid.UUID, 4)
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7())
	}
	entry := func(record aibridge.Record) []byte {
		entries, err := new(encoder).encode([]aibridge.Record{record})
		if err != nil {
			t.Fatal(err)
		}
		return entries[0]
	}
	start := func(i int) []byte { return entry(&aibridge.InterceptionStart{ID: ids[i]}) }
	within := func(i int) []byte { return entry(&aibridge.PromptUsage{RecordID: uuid.New(), InterceptionID: ids[i]}) }
	end := func(i int) []byte {
		return entry(&aibridge.InterceptionEnd{RecordID: uuid.New(), InterceptionID: ids[i]})
	}

	var before openInterceptions
	for _, e := range [][]byte{start(0), within(0), start(1), start(2), end(1), []byte("no entry")} {
		before.observe(e)
	}
	if got, want := before.all(), []uuid.UUID{ids[0], ids[2]}; !slices.Equal(got, want) {
		t.Errorf("open are %v, want %v", got, want)
	}
	var after openInterceptions
	after.observe(start(3)) // The snapshot replaces it.
	after.restore(before.snapshot())
	after.restore([]byte{snapshotFormat + 1})
	after.observe(end(0))
	if got, want := after.all(), []uuid.UUID{ids[2]}; !slices.Equal(got, want) {
		t.Errorf("open are %v, want %v", got, want)
	}
	after.restore(new(openInterceptions).snapshot())
	if got := after.all(); len(got) > 0 {
		t.Errorf("open are %v, want none", got)
	}
}
