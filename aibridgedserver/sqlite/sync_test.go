package sqlite_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/aibridged/aibridgedserver/sqlite"
)

// TestNewFileIsOnTheDisk has a process make a database and a token in it, and checks that it syncs the names of the
// directories and the file: without them, the contents cannot be found after a power failure. The contents are tested
// by internal/crashtest.
func TestNewFileIsOnTheDisk(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("no strace here")
	}
	above := t.TempDir()
	path, log := filepath.Join(above, "new", "newer", "control.db"), filepath.Join(above, "calls")
	command := exec.CommandContext(t.Context(), strace, "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", log,
		os.Args[0], createToken, path)
	if output, err := command.CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace here: %v: %s", err, output)
	}
	calls, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{above, filepath.Join(above, "new"), filepath.Dir(path), path, path + "-wal"} {
		if !strings.Contains(string(calls), "<"+name+">)") {
			t.Errorf("%s was not synced", name)
		}
	}
}

// TestOpenAtACheckpoint has another connection move the log into the main file at the same time: Open waits for that,
// or returns an error that says why it cannot go on.
func TestOpenAtACheckpoint(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"short": time.Second, "long": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { openAtACheckpoint(t, takes) })
		})
	}
}

func openAtACheckpoint(t *testing.T, takes time.Duration) {
	path := filepath.Join(t.TempDir(), "control.db")
	db, other := open(t, path), open(t, path)
	if err := makeToken(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Writer.ExecContext(t.Context(), `PRAGMA busy_timeout = 600000`); err != nil {
		t.Fatal(err)
	}
	// A checkpoint of the whole log waits for the writer. While it waits, it holds the lock that every checkpoint
	// needs.
	tx, err := db.Writer.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := other.Writer.ExecContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
			t.Error(err)
		}
	})
	waiting.Go(func() {
		<-time.After(takes)
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	})
	<-time.After(time.Second / 2)

	third, err := sqlite.Open(t.Context(), path)
	switch {
	case err == nil && takes > 5*time.Second:
		t.Error("opened although the log was not synced")
	case err != nil && takes < 5*time.Second, err != nil && !strings.Contains(err.Error(), "another process"):
		t.Error(err)
	}
	if err == nil {
		if err := third.Close(); err != nil {
			t.Error(err)
		}
	}
	waiting.Wait()
}
