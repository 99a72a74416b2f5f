package postgres_test

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/postgres"
)

// Programs that start at the same time, on a database without tables, bring the tables up to date once.
func TestSeveralMigrateAtOnce(t *testing.T) {
	t.Parallel()
	address := newAddress(t)
	var opening sync.WaitGroup
	for range 6 {
		opening.Go(func() {
			db, err := postgres.Open(t.Context(), address, postgres.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	opening.Wait()
	c := openControlPlane(t, address)
	if n := c.number(t, `SELECT count(*) - count(DISTINCT version_id) FROM goose_db_version`); n != 0 {
		t.Errorf("%d migrations were applied twice", n)
	}
	c.mustStore(t, recordsOf(idAt(time.Now()), time.Now(), "hello")...)
}

// A program that was killed while it had the lease keeps others waiting only until the lease ends.
func TestLeaseOfOneThatIsGoneEnds(t *testing.T) {
	t.Parallel()
	address := newAddress(t)
	first := openControlPlane(t, address)
	first.exec(t, `UPDATE goose_lock SET locked = TRUE, locked_at = now(), locked_by = 'gone', lease_expires_at = now() + interval '2 seconds'`)
	first.exec(t, `DELETE FROM goose_db_version WHERE version_id >= 15`) // The first of them makes a table.
	began := time.Now()
	_, err := postgres.Open(t.Context(), address, postgres.Options{})
	if err == nil || !strings.Contains(err.Error(), "already exists") { // The tables are there.
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took < time.Second || took > 20*time.Second {
		t.Errorf("it waited %v", took)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	address := newAddress(t)
	if _, err := postgres.OpenCurrent(t.Context(), address, postgres.Options{}); !errors.Is(err, postgres.ErrOlder) {
		t.Errorf("without tables: %v", err)
	}
	c := openControlPlane(t, address)
	db, err := postgres.OpenCurrent(t.Context(), address, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	c.exec(t, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999999, TRUE)`)
	for _, open := range []func() error{
		func() error { _, err := postgres.Open(t.Context(), address, postgres.Options{}); return err },
		func() error { _, err := postgres.OpenCurrent(t.Context(), address, postgres.Options{}); return err },
	} {
		if err := open(); !errors.Is(err, postgres.ErrNewer) {
			t.Errorf("with newer tables: %v", err)
		}
	}
}

// A migration of SQLite has one of the same version here. Those up to version 6 are one.
func TestVersionsOfBothEngines(t *testing.T) {
	t.Parallel()
	versions := func(dir string) map[string]bool {
		all := map[string]bool{}
		names, err := fs.Glob(os.DirFS(dir), "*.sql")
		if err != nil || len(names) == 0 {
			t.Fatalf("migrations in %s: %v, %v", dir, names, err)
		}
		for _, name := range names {
			version, _, _ := strings.Cut(name, "_")
			all[version] = true
		}
		return all
	}
	own := versions("migrations")
	for version := range versions("../sqlite/migrations") {
		if version >= "00006" && !own[version] {
			t.Errorf("PostgreSQL has no migration %s", version)
		}
	}
}

// The last release goes on writing while a migration runs, and nobody may wait for an index on a table of records. The
// first migration makes the tables, so it is none of that.
func TestMigrationsOnlyAdd(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`(?i)\b(DROP|RENAME|TRUNCATE|ALTER\s+COLUMN|SET\s+NOT\s+NULL)\b|CREATE\s+(UNIQUE\s+)?INDEX\s+(IF\s+NOT\s+EXISTS\s+)?\w+\s+ON\s+(interceptions|token_usages|prompt_usages|tool_usages|model_thoughts)\b`)
	names, err := fs.Glob(os.DirFS("migrations"), "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("migrations: %v, %v", names, err)
	}
	for _, name := range names[1:] {
		text, err := os.ReadFile("migrations/" + name)
		if err != nil {
			t.Fatal(err)
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		if found := forbidden.FindString(up); found != "" {
			t.Errorf("%s has %q: add instead, and make an index ON ONLY the table, then CONCURRENTLY on each partition", name, found)
		}
	}
	for text, want := range map[string]bool{
		"CREATE INDEX x ON interceptions (a)": true, "CREATE INDEX x ON ONLY interceptions (a)": false, "ALTER TABLE users DROP COLUMN x": true,
		"ALTER TABLE users ADD COLUMN x text": false, "CREATE INDEX x ON users (a)": false,
	} {
		if forbidden.MatchString(text) != want {
			t.Errorf("%s: forbidden %t", text, !want)
		}
	}
}

// A program of before the sums of users cannot derive once they are here, also if it was running.
func TestOlderProgramsDeriveNoMore(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	if _, err := c.db.Writer.ExecContext(t.Context(), `UPDATE derivations SET number = number + 1 WHERE number = $1`, 0); err == nil ||
		!strings.Contains(err.Error(), "P0001") {
		t.Errorf("%v", err)
	}
}
