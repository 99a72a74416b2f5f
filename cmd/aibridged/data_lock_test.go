package main

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/outbox"
)

// olderGateway makes a data directory with a database of version 2, and holds its queue open, as a running gateway of
// that version does. It returns what stops that gateway.
func olderGateway(t *testing.T) (s settings, stop func()) {
	t.Helper()
	s = settings{dataDir: t.TempDir()}
	dump, err := os.ReadFile(filepath.Join("..", "..", "aibridgedserver", "sqlite", "testdata", "version2.sql"))
	if err != nil {
		t.Fatal(err)
	}
	inDatabase(t, s, `PRAGMA journal_mode = WAL`, string(dump))
	queue, err := outbox.Open(s.records(), outbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	stop = func() {
		if !closed {
			closed = true
			if err := queue.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return s, stop
}

// inDatabase runs statements on the database of a data directory, without the program's own code.
func inDatabase(t *testing.T, s settings, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", s.database())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// unchanged returns a check that the database of a data directory is, byte for byte, as it is now.
func unchanged(t *testing.T, s settings) func(after string) {
	t.Helper()
	read := func() []byte {
		content, err := os.ReadFile(s.database())
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	before := read()
	return func(after string) {
		t.Helper()
		if !bytes.Equal(before, read()) {
			t.Errorf("%s changed the database", after)
		}
	}
}

// serveArgs are the arguments of a gateway on a data directory.
func serveArgs(data string) []string {
	return []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", data}
}

// checkRefused checks that serve with these arguments fails at its start with an error of one line that contains want.
func checkRefused(t *testing.T, s settings, want string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // A gateway that is not refused would run on.
	defer cancel()
	_, _, err := run(ctx, append(serveArgs(s.dataDir), args...)...)
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("serve %q: %v, want %q", args, err, want)
	}
}

// TestServeBesideOlder starts a gateway on the directory of a running one of an older version: it is refused, and the
// older one keeps its tables.
func TestServeBesideOlder(t *testing.T) {
	t.Parallel()
	s, stop := olderGateway(t)
	check := unchanged(t, s)
	for _, durability := range []string{"sync", "kernel", "memory"} {
		checkRefused(t, s, "in use by process", "--durability", durability)
		check("serve --durability " + durability)
	}
	stop()
	ctx, cancel := context.WithCancel(t.Context())
	gateway := lineOf(t, ctx, `listens on (http://\S+)`, serveArgs(s.dataDir)...)
	cancel()
	if err := <-gateway.ended; err != nil {
		t.Errorf("serve once the other has stopped: %v", err)
	}
}

// TestSecondGatewayChangesNothing starts a second gateway, without providers, on the directory of each kind of gateway:
// it is refused, and the database still names the providers of the first.
func TestSecondGatewayChangesNothing(t *testing.T) {
	for _, durability := range []string{"sync", "kernel", "memory"} {
		for _, second := range []string{"sync", "kernel", "memory"} {
			t.Run(durability+" "+second, func(t *testing.T) {
				s := serveHere(t, "--durability", durability)
				checkRefused(t, settings{dataDir: s.data}, "in use by process", "--durability", second)
				var names []string
				err := withStore(t.Context(), settings{dataDir: s.data}, func(store *store) error {
					providers, err := store.Providers(t.Context())
					for _, provider := range providers {
						names = append(names, provider.Name)
					}
					return err
				})
				if want := []string{"anthropic", "gone", "off", "openai", "own", "two"}; err != nil || !slices.Equal(names, want) {
					t.Errorf("providers %q, %v, want %q", names, err, want)
				}
			})
		}
	}
}

// TestNewerDatabase has a database that a newer program has migrated: everything that would open it is refused.
func TestNewerDatabase(t *testing.T) {
	t.Parallel()
	s := settings{dataDir: t.TempDir()}
	recordedAt(t, s, time.Hour)
	inDatabase(t, s, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
	check := unchanged(t, s)
	const want = "its tables are of version 999, and this program knows only those up to"
	checkRefused(t, s, want)
	check("serve")
	for _, command := range databaseCommands(t) {
		_, _, err := run(t.Context(), append(command, "--data-dir", s.dataDir)...)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", command, err)
		}
		check(command[0])
	}
}

// TestCommandsBesideOlder runs each command beside a gateway of an older version: it says what to do, and that gateway
// keeps its tables. Once the gateway has stopped, a command brings them up to date.
func TestCommandsBesideOlder(t *testing.T) {
	t.Parallel()
	s, stop := olderGateway(t)
	check := unchanged(t, s)
	var running sync.WaitGroup
	for _, command := range databaseCommands(t) {
		running.Go(func() {
			_, _, err := run(t.Context(), append(command, "--data-dir", s.dataDir)...)
			if err == nil || !regexp.MustCompile(`version 2.*in use by process \d+.*stop it first, or use its own program$`).MatchString(err.Error()) {
				t.Errorf("%q: %v", command, err)
			}
		})
	}
	running.Wait()
	check("a command")
	stop()
	for range 2 { // The second time, the tables are up to date.
		if out, _, err := run(t.Context(), "interceptions", "--data-dir", s.dataDir); err != nil || strings.Count(out, "\n") < 2 {
			t.Errorf("once the gateway has stopped: printed %q, %v", out, err)
		}
	}
	lock, err := takeDataLock(s)
	if err != nil {
		t.Fatalf("a command has kept the lock: %v", err)
	}
	defer func() { _ = lock.Release() }()
	if _, _, err := run(t.Context(), "token", "list", "--data-dir", s.dataDir); err != nil {
		t.Errorf("beside a gateway of today: %v", err)
	}
}

// TestCommandsTogether runs commands at the same time on a data directory that none has used yet: one makes the
// database, and the others wait for it.
func TestCommandsTogether(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "new")
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			if _, _, err := run(t.Context(), "token", "create", "--user", "ada", "--data-dir", data); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
}

// databaseCommands returns the commands that open the database, with arguments.
func databaseCommands(t *testing.T) [][]string {
	return [][]string{
		{"interceptions"}, {"verify", "--exchanges", t.TempDir()}, {"records", "prune", "--before", "1h"},
		{"token", "list"}, {"token", "create", "--user", "ada"}, {"token", "revoke", "X"},
	}
}
