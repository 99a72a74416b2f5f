package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridgedserver"
)

// TestUnusableDatabase starts a gateway on a file that is damaged, or is another program's: with --new-database and
// without it, before a gateway has run there and after, it says what to do and leaves the file as it is.
func TestUnusableDatabase(t *testing.T) {
	statements := func(all string) func(*testing.T, string) {
		return func(t *testing.T, db string) {
			t.Helper()
			other, err := sql.Open("sqlite", db)
			check(t, err)
			_, err = other.ExecContext(t.Context(), all)
			check(t, errors.Join(err, other.Close()))
		}
	}
	for name, put := range map[string]func(t *testing.T, db string){
		"another program's":              statements("CREATE TABLE t (n)"),
		"another program's, with a view": statements("CREATE VIEW v AS SELECT 1"),
		"another program's, with goose":  statements("CREATE TABLE goose_db_version (id INTEGER, version_id INTEGER, is_applied INTEGER); INSERT INTO goose_db_version VALUES (1, 3, 1); CREATE TABLE users (n)"),
		"no database": func(t *testing.T, db string) {
			t.Helper()
			check(t, os.WriteFile(db, bytes.Repeat([]byte("text "), 9999), 0o600))
		},
		"half a database": func(t *testing.T, db string) {
			t.Helper()
			_ = newToken(t, filepath.Dir(db))
			info, err := os.Stat(db)
			check(t, err)
			check(t, os.Truncate(db, info.Size()/2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, trace := range []bool{false, true} {
				s := settings{dataDir: t.TempDir()}
				put(t, s.database())
				if trace {
					check(t, os.MkdirAll(s.records(), 0o700))
					check(t, os.WriteFile(filepath.Join(s.records(), "cursor"), nil, 0o600))
				}
				before, err := os.ReadFile(s.database())
				check(t, err)
				for _, args := range [][]string{nil, {"--new-database"}} {
					for _, want := range []string{s.database(), "move it away", "--new-database"} {
						checkRefused(t, s, want, args...)
					}
				}
				if after, err := os.ReadFile(s.database()); err != nil || !bytes.Equal(before, after) {
					t.Errorf("the file has changed: %v", err)
				}
			}
		})
	}
}

// TestLockedDatabase has another program hold the database when the gateway starts: it names the file, and says what to
// do.
func TestLockedDatabase(t *testing.T) {
	t.Parallel()
	s := settings{dataDir: t.TempDir()}
	_ = newToken(t, s.dataDir)
	db, err := sql.Open("sqlite", s.database())
	check(t, err)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	check(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, _, err = run(ctx, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", s.dataDir)
	for _, want := range []string{s.database(), "another process has held it locked", "stop it"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestRecordsDirectoryGone deletes the records directory of a gateway that has stored records: the next one says so.
func TestRecordsDirectoryGone(t *testing.T) {
	s := serveHere(t)
	token := newToken(t, s.data)
	if status, answer := s.ask(t, "/anthropic/v1/messages", token, helloBody); status != 200 {
		t.Fatal(status, answer)
	}
	s.flushed(t)
	check(t, s.stop())
	here := settings{dataDir: s.data}
	lines := func(here settings) int {
		control, err := openStore(t.Context(), here, slog.Logger{})
		check(t, err)
		log := &watchSink{}
		check(t, errors.Join(noteLostRecords(t.Context(), here, control, slog.Make(log)), control.Close()))
		return len(log.lines)
	}
	if n := lines(here); n != 0 {
		t.Errorf("%d lines with the directory", n)
	}
	check(t, os.RemoveAll(here.records()))
	check(t, os.MkdirAll(here.records(), 0o700)) // As the lock makes it.
	if n := lines(here); n != 1 {
		t.Errorf("%d lines without the directory, want 1", n)
	}
	unstored := settings{dataDir: t.TempDir()}
	control, err := openStore(t.Context(), unstored, slog.Logger{})
	check(t, err)
	_, err = control.SeedProviders(t.Context(), []aibridgedserver.Provider{{Name: "p", Type: "openai"}})
	check(t, errors.Join(err, control.Close()))
	if n := lines(unstored); n != 1 {
		t.Errorf("%d lines where a gateway has run and stored nothing yet, want 1", n)
	}
	fresh := settings{dataDir: t.TempDir()}
	_ = newToken(t, fresh.dataDir)
	if n := lines(fresh); n != 0 {
		t.Errorf("%d lines where no gateway has run", n)
	}
}
