package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
)

// get returns the status and the body of a page for operators.
func (s *served) get(t *testing.T, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// becomes waits until /readyz answers with a status and a text, five seconds and what a check takes.
func (s *served) becomes(t *testing.T, status int, text string) {
	t.Helper()
	for deadline := time.Now().Add(5*time.Second + readyPatience); ; {
		gotStatus, body := s.get(t, "/readyz")
		if gotStatus == status && strings.Contains(body, text) {
			if strings.Count(body, "\n") != 1 || strings.Contains(body, s.data) {
				t.Errorf("/readyz answers %q, want one line without a path", body)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("/readyz answers %d %q, want %d %q", gotStatus, body, status, text)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// pending returns how many records wait for the database.
func (s *served) pending(t *testing.T) int {
	t.Helper()
	_, metrics := s.get(t, "/metrics")
	match := regexp.MustCompile(`(?m)^aibridged_records_pending (\d+)$`).FindStringSubmatch(metrics)
	if match == nil {
		t.Fatal("no aibridged_records_pending")
	}
	n, _ := strconv.Atoi(match[1])
	return n
}

// flushed waits until no record waits.
func (s *served) flushed(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); s.pending(t) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d records are pending", s.pending(t))
		}
		<-time.After(20 * time.Millisecond)
	}
}

const helloBody = `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hello [[usage: input=7 output=5]]"}]}`

// newToken makes a token for a data directory.
func newToken(t *testing.T, data string) string {
	t.Helper()
	out, _, err := run(t.Context(), "token", "create", "--user", "ada", "--data-dir", data)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// recorded returns how many interceptions a database has.
func recorded(t *testing.T, data string) int {
	t.Helper()
	out, _, err := run(t.Context(), "interceptions", "--json", "--data-dir", data)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(out, "\n")
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestReadyLost takes files of the database away while the gateway runs: it says so, goes on serving, and keeps the
// records until the files are back.
func TestReadyLost(t *testing.T) {
	t.Parallel()
	const name = "aibridged.db"
	for _, test := range []struct {
		name       string
		take, back func(db string) error
		want       string
	}{
		{
			"database deleted",
			func(db string) error { return errors.Join(os.Link(db, db+".kept"), os.Remove(db)) },
			func(db string) error { return os.Rename(db+".kept", db) }, name + " has been deleted",
		},
		{
			"database renamed and another in its place",
			func(db string) error {
				return errors.Join(os.Rename(db, db+".kept"), os.WriteFile(db, []byte("something else"), 0o600))
			},
			func(db string) error { return os.Rename(db+".kept", db) }, name + " has been replaced",
		},
		{
			"database restored from a copy",
			func(db string) error {
				content, err := os.ReadFile(db)
				return errors.Join(err, os.Rename(db, db+".kept"), os.WriteFile(db, content, 0o600))
			},
			func(db string) error { return os.Rename(db+".kept", db) }, name + " has been replaced",
		},
		{
			"log deleted",
			func(db string) error { return os.Rename(db+"-wal", db+".kept") },
			func(db string) error { return os.Rename(db+".kept", db+"-wal") }, name + "-wal has been ", // Deleted, or replaced: a new connection makes another one.
		},
		{
			"shared memory deleted",
			func(db string) error { return os.Rename(db+"-shm", db+".kept") },
			func(db string) error { return os.Rename(db+".kept", db+"-shm") }, name + "-shm has been deleted",
		},
		{
			"directory renamed",
			func(db string) error { return os.Rename(filepath.Dir(db), filepath.Dir(db)+"-kept") },
			func(db string) error { return os.Rename(filepath.Dir(db)+"-kept", filepath.Dir(db)) }, name + " has been deleted",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serveHere(t)
			db := settings{dataDir: s.data}.database()
			token := newToken(t, s.data)
			if status, answer := s.ask(t, "/anthropic/v1/messages", token, helloBody); status != 200 {
				t.Fatal(status, answer)
			}
			s.flushed(t)
			s.becomes(t, 200, "ready")
			check(t, test.take(db))
			if status, answer := s.ask(t, "/anthropic/v1/messages", token, helloBody); status != 200 && test.name != "directory renamed" {
				t.Errorf("without its database: %d %s", status, answer)
			}
			s.becomes(t, 503, "not ready: the database file "+test.want)
			if status, body := s.get(t, "/healthz"); status != 200 || body != "ok\n" {
				t.Errorf("/healthz: %d %q", status, body)
			}
			if n := s.pending(t); n == 0 && test.name != "directory renamed" {
				t.Error("records were acknowledged into files without a name")
			}
			check(t, test.back(db))
			s.becomes(t, 200, "ready")
			s.flushed(t)
			if n := recorded(t, s.data); n != 2 {
				t.Errorf("%d interceptions are recorded, want 2", n)
			}
		})
	}
}

// TestReadyLocked has another program hold the database: the gateway is not ready until it lets go.
func TestReadyLocked(t *testing.T) {
	t.Parallel()
	s := serveHere(t)
	db, err := sql.Open("sqlite", settings{dataDir: s.data}.database())
	check(t, err)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	check(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	check(t, err)
	s.becomes(t, 503, "another program has locked the database")
	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	check(t, err)
	s.becomes(t, 200, "ready")
}

// TestReadyMalformed writes over the database in place.
func TestReadyMalformed(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(db string) error
		want  string
	}{
		"emptied": {func(db string) error { return os.Truncate(db, 0) }, "has been emptied"},
		"header": {func(db string) error {
			file, err := os.OpenFile(db, os.O_RDWR, 0) // In a process of its own this would release no locks.
			if err != nil {
				return err
			}
			_, err = file.WriteAt(make([]byte, 100), 0)
			return errors.Join(err, file.Close())
		}, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveHere(t)
			db := settings{dataDir: s.data}.database()
			// What is in the log would be read from there.
			other, err := sql.Open("sqlite", db)
			check(t, err)
			_, err = other.ExecContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")
			check(t, errors.Join(err, other.Close()))
			check(t, test.spoil(db))
			s.becomes(t, 503, test.want)
			_ = s.stop() // It may say that the database is malformed.
		})
	}
}

// TestNewDatabase starts a gateway where the database of an earlier one is missing or emptied: it asks for
// --new-database, and so does each command that would make one. With the flag the records that wait are delivered.
func TestNewDatabase(t *testing.T) {
	for name, lose := range map[string]func(db string) error{
		"deleted": func(string) error { return nil },
		"emptied": func(db string) error { return os.WriteFile(db, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			s := serveHere(t)
			token := newToken(t, s.data)
			db := settings{dataDir: s.data}.database()
			if status, answer := s.ask(t, "/anthropic/v1/messages", token, helloBody); status != 200 {
				t.Fatal(status, answer)
			}
			s.flushed(t)
			check(t, os.Rename(db, db+".kept")) // From here on nothing is delivered.
			if status, answer := s.ask(t, "/anthropic/v1/messages", token, helloBody); status != 200 {
				t.Fatal(status, answer)
			}
			s.becomes(t, 503, "deleted")
			// What a gateway leaves that is killed now. To read the database here would release the locks of the gateway.
			here := settings{dataDir: t.TempDir()}
			check(t, os.CopyFS(here.records(), os.DirFS(settings{dataDir: s.data}.records())))
			check(t, lose(here.database()))
			check(t, os.Rename(db+".kept", db))
			check(t, s.stop())

			checkRefused(t, here, "--new-database")
			checkRefused(t, here, "tokens, users and records", "--durability", "kernel")
			for _, command := range databaseCommands(t) {
				if _, _, err := run(t.Context(), append(command, "--data-dir", here.dataDir)...); err == nil || !strings.Contains(err.Error(), "--new-database") {
					t.Errorf("%q: %v", command, err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			gateway := lineOf(t, ctx, `for operators +(http://\S+)`, "serve", "--new-database", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", here.dataDir)
			again := &served{admin: gateway.found, data: here.dataDir}
			again.flushed(t)
			if n := recorded(t, here.dataDir); n != 1 {
				t.Errorf("%d interceptions are recorded, want 1", n)
			}
			cancel()
			check(t, <-gateway.ended)
		})
	}
}

// watchSink remembers the lines of a log.
type watchSink struct {
	mu    sync.Mutex
	lines []string
}

func (s *watchSink) LogEntry(_ context.Context, e slog.SinkEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprint(e.Message, e.Fields))
}

func (*watchSink) Sync() {}

// lossy is a Health.
type lossy struct {
	mu  sync.Mutex
	err error
}

func (l *lossy) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *lossy) Intact() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *lossy) Writable(context.Context) error { return l.Intact() }

// TestDatabaseWatch checks that a loss is logged within five seconds, once, however long it lasts.
func TestDatabaseWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health, log := &lossy{}, &watchSink{}
		watch := watchDatabase(health, "/data/aibridged.db", slog.Make(log))
		lines := func() int {
			synctest.Wait()
			log.mu.Lock()
			defer log.mu.Unlock()
			return len(log.lines)
		}
		time.Sleep(time.Minute)
		if n := lines(); n != 0 {
			t.Errorf("%d lines without a loss", n)
		}
		for round := range 2 {
			health.set(errors.New("the database file aibridged.db has been deleted"))
			time.Sleep(5 * time.Second)
			if n := lines(); n != 2*round+1 || !strings.Contains(log.lines[n-1], "/data/aibridged.db") {
				t.Errorf("after five seconds: %q", log.lines)
			}
			time.Sleep(time.Hour)
			if n := lines(); n != 2*round+1 {
				t.Errorf("after an hour: %d lines", n)
			}
			health.set(nil)
			time.Sleep(5 * time.Second)
			if n := lines(); n != 2*round+2 {
				t.Errorf("once it is back: %d lines", n)
			}
		}
		watch.close()
	})
}

// TestReadyHangs has a check that never ends: whoever asks gets an answer in time, and it is not begun again.
func TestReadyHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checks, release := 0, make(chan struct{})
		r := &readiness{check: func(context.Context) error {
			checks++
			<-release
			return nil
		}}
		ask := func() (int, string) {
			answer := httptest.NewRecorder()
			r.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
			return answer.Code, answer.Body.String()
		}
		for range 3 {
			began := time.Now()
			if status, body := ask(); status != 503 || !strings.Contains(body, "does not answer") || time.Since(began) != readyPatience {
				t.Errorf("%d %q after %v", status, body, time.Since(began))
			}
		}
		close(release)
		synctest.Wait()
		if status, body := ask(); status != 200 || body != "ready\n" || checks != 1 {
			t.Errorf("%d %q after %d checks", status, body, checks)
		}
		time.Sleep(2 * readyFor)
		if _, _ = ask(); checks != 2 {
			t.Errorf("%d checks", checks)
		}
	})
}
