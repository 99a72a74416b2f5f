package sqlite_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
)

func TestMain(m *testing.M) {
	if command := os.Args[1:]; len(command) == 2 && command[0] == recordUntilKilled {
		recordInto(command[1])
		return
	}
	if command := os.Args[1:]; len(command) == 2 && command[0] == createToken {
		createTokenIn(command[1])
		return
	}
	if command := os.Args[1:]; len(command) == 2 && command[0] == revokeTokens {
		revokeTokensIn(command[1])
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, path string) aibridgedserver.Database {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func pragma(t *testing.T, db *sql.DB, name string) string {
	t.Helper()
	var value string
	if err := db.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a directory", "with ? # % ; & in it", "control.db")
	db := open(t, path)
	for _, test := range []struct {
		db         *sql.DB
		name, want string
	}{
		{db.Writer, "journal_mode", "wal"},
		{db.Writer, "synchronous", "2"},
		{db.Writer, "foreign_keys", "1"},
		{db.Writer, "busy_timeout", "5000"},
		{db.Writer, "query_only", "0"},
		{db.Reader, "journal_mode", "wal"},
		{db.Reader, "busy_timeout", "5000"},
		{db.Reader, "query_only", "1"},
	} {
		if got := pragma(t, test.db, test.name); got != test.want {
			t.Errorf("%s is %s, want %s", test.name, got, test.want)
		}
	}
	if _, err := db.Reader.ExecContext(t.Context(), `DELETE FROM users`); err == nil {
		t.Error("the reader can write")
	}
	if limit := db.Writer.Stats().MaxOpenConnections; limit != 1 {
		t.Errorf("%d writers", limit)
	}
	for name, want := range map[string]os.FileMode{
		path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600,
		filepath.Dir(path): os.ModeDir | 0o700, filepath.Dir(filepath.Dir(path)): os.ModeDir | 0o700,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
}

func TestOpenRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	open(t, "control.db")
	if _, err := os.Stat("control.db"); err != nil {
		t.Error(err)
	}
}

// A database that is closed and opened again still has its records.
func TestOpenAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	for want := range 3 {
		db, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if n := countTokens(t, db); n != want {
			t.Errorf("%d tokens, want %d", n, want)
		}
		if err := makeToken(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if left, err := filepath.Glob(path + "-*"); err != nil || len(left) != 0 {
			t.Errorf("after Close there is %v, %v", left, err)
		}
	}
}

func TestFault079OpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ path, advice string }{
		"no directory":             {filepath.Join(file, "control.db"), "another path"},
		"no place for directory":   {filepath.Join(file, "deeper", "control.db"), "another path"},
		"directory where it is":    {dir, "another path"},
		"something else":           {file, "another path"},
		"where nothing can be":     {"/proc/control/control.db", "another path"},
		"where no file can be":     {"/proc/control.db", "another path"},
		"path that the OS refuses": {"a\x00b", "another path"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := sqlite.Open(t.Context(), test.path)
			if err == nil {
				t.Fatal("opened", db.Close())
			}
			shown := strings.ReplaceAll(test.path, "\x00", `\x00`)
			if !strings.Contains(err.Error(), shown) || !strings.Contains(err.Error(), test.advice) {
				t.Errorf("%q names no path or no way out", err)
			}
		})
	}
	t.Cleanup(func() { // After the parallel ones.
		if _, err := os.Stat("a"); err == nil {
			t.Error("the path up to its NUL was opened")
		}
	})
	if content, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(content), "no database") {
		t.Errorf("the other file was changed: %v", err)
	}
}

func TestFault079OpenSaysThatAnotherHoldsTheFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "control.db")
		other, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		conn, err := other.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.ExecContext(t.Context(), `BEGIN EXCLUSIVE`); err != nil {
			t.Fatal(err)
		}
		_, err = sqlite.Open(t.Context(), path)
		if err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("got %v", err)
		}
		if _, err := conn.ExecContext(t.Context(), `ROLLBACK`); err != nil {
			t.Fatal(err)
		}
		db, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A command must not wait for a gateway that is in the middle of a transaction.
func TestOpenBesideAWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	db := open(t, path)
	tx, err := db.Writer.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := countTokens(t, open(t, path)); n != 0 {
		t.Errorf("%d tokens", n)
	}
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
}

func TestOpenObeysItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "control.db")); err == nil {
		t.Error("opened")
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	db := open(t, path)
	exec := func(db *sql.DB, query string) error {
		_, err := db.ExecContext(t.Context(), query)
		return err
	}
	tx, err := db.Writer.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	other := open(t, path)
	if err := exec(other.Writer, `PRAGMA busy_timeout = 1`); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		err  error
		want aibridgedserver.Fault
	}{
		"locked":       {exec(other.Writer, `DELETE FROM users`), aibridgedserver.FaultUnavailable},
		"too big":      {exec(other.Reader, `SELECT CAST(zeroblob(2000000000) AS TEXT)`), aibridgedserver.FaultRecord},
		"read only":    {exec(other.Reader, `DELETE FROM users`), aibridgedserver.FaultUnavailable},
		"no such":      {exec(other.Reader, `SELECT * FROM nothing`), aibridgedserver.FaultUnavailable},
		"another kind": {context.Canceled, aibridgedserver.FaultUnavailable},
	} {
		if test.err == nil {
			t.Errorf("%s: no error", name)
		} else if got := db.Fault(test.err); got != test.want {
			t.Errorf("%s: fault %d, want %d: %v", name, got, test.want, test.err)
		}
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	err = exec(db.Writer, `INSERT INTO users VALUES (NULL, 'alice', 0)`)
	if db.Fault(err) != aibridgedserver.FaultRecord {
		t.Errorf("NULL in an id: %v", err)
	}
}

// Several open a new file at once; each must find its tables.
func TestConcurrentOpen(t *testing.T) {
	t.Parallel()
	for range 2 {
		path := filepath.Join(t.TempDir(), "control.db")
		var opening sync.WaitGroup
		for range 8 {
			opening.Go(func() {
				db, err := sqlite.Open(t.Context(), path)
				if err != nil {
					t.Error(err)
					return
				}
				if err := makeToken(t.Context(), db); err != nil {
					t.Error(err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		opening.Wait()
		if n := countTokens(t, open(t, path)); n != 8 {
			t.Errorf("%d tokens", n)
		}
	}
}
