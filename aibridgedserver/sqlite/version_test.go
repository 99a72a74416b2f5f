package sqlite

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridgedserver"
)

// unchanged returns a check that a file is, byte for byte, as it is now.
func unchanged(t *testing.T, path string) (check func()) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("the file has changed, %v", err)
		}
	}
}

// TestNewer opens a database that a newer program has migrated, whole, and then without a table that this program uses.
func TestNewer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{`INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`, `DROP TABLE key_changes`} {
		newer, err := connect(path, 1, url.Values{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newer.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		if err := newer.Close(); err != nil {
			t.Fatal(err)
		}
		check := unchanged(t, path)
		db, err := Open(t.Context(), path)
		if err == nil {
			_ = db.Close()
		}
		const want = ": its tables are of version 999, and this program knows only those up to "
		if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("after %s: %v, want %q", statement, err, want)
		}
		check()
	}
}

// TestOpenCurrent opens a database of today, and refuses to make or to migrate one.
func TestOpenCurrent(t *testing.T) {
	t.Parallel()
	refused := func(path, want string) {
		t.Helper()
		db, err := OpenCurrent(t.Context(), path)
		if err == nil {
			_ = db.Close()
		}
		if !errors.Is(err, ErrOlder) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "new", "control.db")
	refused(path, "its tables are of version 0, ")
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory was made, %v", err)
	}
	path = filepath.Join(t.TempDir(), "control.db")
	if err := openVersion2(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	check := unchanged(t, path)
	refused(path, "its tables are of version 2, ")
	check()
	for _, open := range []func(context.Context, string) (aibridgedserver.Database, error){Open, OpenCurrent} {
		db, err := open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(interceptions(t, db)); got == 0 {
			t.Error("no interceptions")
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
