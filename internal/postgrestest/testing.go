package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package with a server that they share, or nil where no PostgreSQL is installed, and ends the
// process. It fails if goroutines are left.
func Main(m *testing.M, share func(*Server)) {
	code := runShared(m, share)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runShared(m *testing.M, share func(*Server)) int {
	server, err := Start(Options{})
	switch {
	case errors.Is(err, ErrMissing):
		return m.Run()
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Stop()
	share(server)
	return m.Run()
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

// Database makes a database for a test and returns its name. Template is that of [Server.NewDatabase]. The test is skipped
// if there is no server.
func (s *Server) Database(tb testing.TB, template string) string {
	tb.Helper()
	if s == nil {
		tb.Skip(ErrMissing)
	}
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
