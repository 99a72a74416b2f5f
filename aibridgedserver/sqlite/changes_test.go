package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// The number changes with each change of a key, by any process, and with nothing else.
func TestChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	db, other := open(t, path), open(t, path)
	number := func() uint64 {
		t.Helper()
		n, err := db.Changes.Number(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := number()
	for _, by := range []aibridgedserver.Database{db, other, db} {
		if err := makeToken(t.Context(), by); err != nil {
			t.Fatal(err)
		}
		after := number()
		if after == before {
			t.Errorf("a token was made, and the number is still %d", after)
		}
		before = after
		err := withServer(t.Context(), path, func(server *aibridgedserver.Server) error {
			id := uuid.NewString()
			_, err := server.RecordPromptUsage(t.Context(), &proto.RecordPromptUsageRequest{InterceptionId: id, Prompt: id})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if after := number(); after != before {
			t.Errorf("a record was stored, and the number is %d instead of %d", after, before)
		}
	}
}

// After a failed look the connection is replaced. The versions of the new one do not compare with those of the old one.
func TestChangesAfterAFailure(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "control.db"))
	before, err := db.Changes.Number(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Writer.ExecContext(t.Context(), `ALTER TABLE key_changes RENAME TO gone`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Changes.Number(t.Context()); err == nil {
		t.Error("there is nothing to read, and that is no error")
	}
	if _, err := db.Writer.ExecContext(t.Context(), `ALTER TABLE gone RENAME TO key_changes`); err != nil {
		t.Fatal(err)
	}
	if err := makeToken(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	after, err := db.Changes.Number(t.Context())
	if err != nil || after == before {
		t.Errorf("before the failure %d, after it and a change %d, %v", before, after, err)
	}
}
