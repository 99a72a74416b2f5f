package sqlite

import (
	"database/sql"
	"io/fs"
	"net/url"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"
)

// openVersion makes a database as an earlier version of the program left it.
func openVersion(t *testing.T, path string, names ...string) *sql.DB {
	t.Helper()
	if err := makeFile(path); err != nil {
		t.Fatal(err)
	}
	db, err := connect(path, 1, url.Values{"_journal_mode": {"WAL"}})
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, name := range names {
		text, err := fs.ReadFile(migrations, "migrations/"+name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// TestUpgrade opens a database of version 1: what it holds is still there, and what it cannot know is NULL.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	old := openVersion(t, path, "00001_control_plane.sql")
	for _, insert := range []string{
		`INSERT INTO interceptions VALUES ('i', 'u', 'k', 'openai', 'main', 'm', 'Codex', NULL, 'codex/1', NULL, 'byok', 'sk', NULL, NULL, '{}', 7)`,
		`INSERT INTO interception_ends VALUES ('i', 9, 'sk', 'timeout', 'slow')`,
	} {
		if _, err := old.ExecContext(t.Context(), insert); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}

	for range 2 { // The second time there is nothing to do.
		db, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		var model, errorType string
		var version int
		digests := make([]any, 4)
		err = db.Reader.QueryRowContext(t.Context(), `SELECT i.model, e.error_type, i.request_bytes, i.request_sha256,
			e.response_bytes, e.response_sha256, (SELECT MAX(version_id) FROM goose_db_version)
			FROM interceptions i JOIN interception_ends e ON e.interception_id = i.id`).
			Scan(&model, &errorType, &digests[0], &digests[1], &digests[2], &digests[3], &version)
		if err != nil || model != "m" || errorType != "timeout" || version != 4 {
			t.Errorf("%s, %s, version %d, %v", model, errorType, version, err)
		}
		for _, digest := range digests {
			if digest != nil {
				t.Errorf("digests %v", digests)
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
