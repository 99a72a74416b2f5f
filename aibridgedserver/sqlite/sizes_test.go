package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/proto"
)

// storing is a server that stores prompts, and remembers those that it acknowledged.
type storing struct {
	*aibridgedserver.Server

	t     *testing.T
	path  string
	db    aibridgedserver.Database
	acked int
}

func startStoring(t *testing.T, path string) *storing {
	t.Helper()
	db := open(t, path)
	server, err := aibridgedserver.New(t.Context(), db, aibridgedserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return &storing{Server: server, t: t, path: path, db: db}
}

// store stores a prompt, and reports whether that was acknowledged.
func (s *storing) store() bool {
	s.t.Helper()
	id := uuid.NewString()
	response, err := s.RecordBatch(s.t.Context(), &proto.RecordBatchRequest{Records: []*proto.Record{{
		Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
			RecordId: id, InterceptionId: id, Prompt: strings.Repeat(id, 100), CreatedAt: timestamppb.Now(),
		}},
	}}})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, failure := range response.GetFailures() {
		if failure.GetPermanent() {
			s.t.Errorf("refused for good: %s", failure.GetError())
		}
	}
	if len(response.GetFailures()) > 0 {
		return false
	}
	s.acked++
	return true
}

// outside runs a statement as another program does.
func (s *storing) outside(statement string) {
	s.t.Helper()
	db, err := sql.Open("sqlite", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = db.ExecContext(s.t.Context(), statement)
	if err := errors.Join(err, db.Close()); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
}

// stored returns how many prompts a database has. It reads a copy of its files, as the next process finds them.
func (s *storing) stored() (int, error) {
	s.t.Helper()
	copied := filepath.Join(s.t.TempDir(), "control.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(s.path + suffix)
		if err == nil {
			err = os.WriteFile(copied+suffix, content, 0o600)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	db, err := sqlite.Open(s.t.Context(), copied)
	if err != nil {
		return 0, err
	}
	var n int
	var verdict string
	err = db.Reader.QueryRowContext(s.t.Context(), `SELECT count(*) FROM prompt_usages`).Scan(&n)
	if err == nil {
		err = db.Reader.QueryRowContext(s.t.Context(), `PRAGMA quick_check`).Scan(&verdict)
	}
	if verdict != "ok" && err == nil {
		err = errors.New(verdict)
	}
	return n, errors.Join(err, db.Close())
}

// bare runs a statement in the process's own connection, without a look at the files before it: as if they were cut
// between that look and the statement.
func (s *storing) bare(statement string) {
	_, _ = s.db.Writer.ExecContext(s.t.Context(), statement)
}

// TestFileCut cuts the files of a database that is open: from then on nothing is acknowledged, and what was stored before
// the log began is still there for the next process, and not spoilt by the end of this one.
func TestFileCut(t *testing.T) {
	t.Parallel()
	half := func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()/2)
	}
	for name, test := range map[string]struct {
		cut    func(s *storing) error
		suffix string
		spoilt bool // The main file itself.
	}{
		"log to nothing":              {func(s *storing) error { return os.Truncate(s.path+"-wal", 0) }, "-wal", false},
		"log to half":                 {func(s *storing) error { return half(s.path + "-wal") }, "-wal", false},
		"log to its header":           {func(s *storing) error { return os.Truncate(s.path+"-wal", 32) }, "-wal", false},
		"log written over":            {func(s *storing) error { return os.WriteFile(s.path+"-wal", []byte("\n"), 0o600) }, "-wal", false},
		"log by a page":               {func(s *storing) error { return cutBy(s.path+"-wal", 4096) }, "-wal", false},
		"log by a byte":               {func(s *storing) error { return cutBy(s.path+"-wal", 1) }, "-wal", false},
		"log, and written to":         {func(s *storing) error { err := os.Truncate(s.path+"-wal", 0); s.writeOn(); return err }, "-wal", false},
		"log to half, and written to": {func(s *storing) error { err := half(s.path + "-wal"); s.writeOn(); return err }, "-wal", false},
		"log that began anew": {func(s *storing) error {
			s.outside(`PRAGMA wal_checkpoint(RESTART)`)
			for range 5 {
				s.store()
			}
			return os.Truncate(s.path+"-wal", 32+2*4120)
		}, "-wal", false},
		"log that began anew, and written to": {func(s *storing) error {
			s.outside(`PRAGMA wal_checkpoint(RESTART)`)
			for range 5 {
				s.store()
			}
			err := os.Truncate(s.path+"-wal", 0)
			s.writeOn()
			return err
		}, "-wal", false},
		"database": {func(s *storing) error {
			s.outside(`PRAGMA wal_checkpoint(TRUNCATE)`)
			return os.Truncate(s.path, 60_000)
		}, "", true},
		"database, with a log": {func(s *storing) error { return os.Truncate(s.path, 60_000) }, "", true},
		"database, with a log, and written to": {func(s *storing) error {
			err := os.Truncate(s.path, 60_000)
			s.writeOn()
			return err
		}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startStoring(t, filepath.Join(t.TempDir(), "control.db"))
			for range 100 {
				s.store()
			}
			s.outside(`PRAGMA wal_checkpoint(TRUNCATE)`)
			moved := s.acked
			for range 20 {
				if !s.store() {
					t.Fatal("not acknowledged before anything was cut")
				}
			}
			if err := test.cut(s); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if s.store() {
					t.Error("acknowledged, and lost")
				}
				want := "the database file control.db" + test.suffix + " has been cut"
				for _, err := range []error{s.db.Health.Intact(), s.db.Health.Writable(t.Context())} {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("got %v, want %s", err, want)
					}
				}
				if _, _, err := s.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "ada"}); err == nil {
					t.Error("a token was made")
				}
			}
			if err := errors.Join(s.Server.Close(), s.db.Close()); err != nil && !test.spoilt {
				t.Log(err) // The engine cannot read its log.
			}
			if n, err := s.stored(); !test.spoilt && (err != nil || n < moved) {
				t.Errorf("the next process finds %d prompts, want %d at least: %v", n, moved, err)
			}
		})
	}
}

func cutBy(path string, bytes int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()-bytes)
}

// writeOn commits something, as if a file had been cut after the look before.
func (s *storing) writeOn() {
	for range 3 {
		s.bare(`INSERT INTO users (id, username, created_at) VALUES (lower(hex(randomblob(16))), lower(hex(randomblob(16))), 1)`)
	}
}

// TestFileShorterInOrder has other programs make the files shorter, as operators do: everything is acknowledged, and
// nothing is said.
func TestFileShorterInOrder(t *testing.T) {
	t.Parallel()
	s := startStoring(t, filepath.Join(t.TempDir(), "control.db"))
	for _, statement := range []string{
		`PRAGMA wal_checkpoint(PASSIVE)`, `PRAGMA wal_checkpoint(FULL)`, `PRAGMA wal_checkpoint(RESTART)`, `PRAGMA wal_checkpoint(TRUNCATE)`,
		`DELETE FROM prompt_usages WHERE record_id < '4'; VACUUM`, `DELETE FROM prompt_usages WHERE record_id < '8'; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)`,
		`PRAGMA journal_size_limit = 10000; DELETE FROM prompt_usages WHERE record_id < '5'`,
		`DELETE FROM prompt_usages; VACUUM`,
	} {
		for times := range 3 {
			for range 30 {
				if !s.store() {
					t.Fatalf("%s: not acknowledged: %v", statement, s.db.Health.Intact())
				}
			}
			s.outside(statement)
			if times == 1 {
				s.writeOn()
			}
			if err := errors.Join(s.db.Health.Intact(), s.db.Health.Writable(t.Context())); err != nil {
				t.Errorf("%s: %v", statement, err)
			}
			if !s.store() {
				t.Errorf("%s: not acknowledged", statement)
			}
		}
	}
}

// TestFileShorterMeanwhile has another program empty the log again and again while records are stored.
func TestFileShorterMeanwhile(t *testing.T) {
	t.Parallel()
	s := startStoring(t, filepath.Join(t.TempDir(), "control.db"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		db, err := sql.Open("sqlite", s.path+"?_pragma=busy_timeout(5000)")
		for err == nil && ctx.Err() == nil {
			_, err = db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
		}
		done <- errors.Join(err, db.Close())
	}()
	for range 300 {
		if !s.store() {
			t.Fatalf("not acknowledged: %v", s.db.Health.Intact())
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestMalformedNotAcknowledged spoils the database in place. Once the readiness check says that it is malformed, nothing
// is acknowledged.
func TestMalformedNotAcknowledged(t *testing.T) {
	t.Parallel()
	s := startStoring(t, filepath.Join(t.TempDir(), "control.db"))
	s.store()
	s.outside(`PRAGMA wal_checkpoint(TRUNCATE)`)
	file, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() }) // Not earlier: that releases the locks.
	header := make([]byte, 100)
	if _, err := file.ReadAt(header, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(make([]byte, 100), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Health.Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("got %v", err)
	}
	if s.store() {
		t.Error("acknowledged into a malformed database")
	}
	if _, err := file.WriteAt(header, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Health.Writable(t.Context()); err != nil || !s.store() {
		t.Errorf("once it is whole again: %v", err)
	}
}
