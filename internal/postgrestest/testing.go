package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// Shared is a server that the tests of a package share. It is started when the first of them needs it.
type Shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Main runs the tests, stops the server, and ends the process. It fails if goroutines are left.
func (s *Shared) Main(m *testing.M) {
	code := m.Run()
	var err error
	if s.server != nil {
		err = s.server.Stop()
	}
	if err := errors.Join(err, goleak.Find()); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// Server returns the server. The test is skipped where no PostgreSQL is installed.
func (s *Shared) Server(tb testing.TB) *Server {
	tb.Helper()
	s.once.Do(func() { s.server, s.err = Start(Options{}) })
	if errors.Is(s.err, ErrMissing) {
		tb.Skip(s.err)
	}
	if s.err != nil {
		tb.Fatal(s.err)
	}
	return s.server
}

// New starts a server that a test has for itself. The test is skipped where no PostgreSQL is installed.
func New(tb testing.TB, options Options) *Server {
	tb.Helper()
	server, err := Start(options)
	if errors.Is(err, ErrMissing) {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := server.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return server
}

// NewStandby starts a server that follows this one until the end of a test.
func (s *Server) NewStandby(tb testing.TB) *Server {
	tb.Helper()
	standby, err := s.Standby()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := standby.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return standby
}

// Database makes a database for a test and returns its name. Template is that of [Server.NewDatabase].
func (s *Server) Database(tb testing.TB, template string) string {
	tb.Helper()
	name, err := s.NewDatabase(tb.Context(), template)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.DropDatabase(context.Background(), name); err != nil {
			tb.Errorf("drop database: %v", err)
		}
	})
	return name
}
