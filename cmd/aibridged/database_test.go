package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/postgrestest"
)

// newPostgres starts a server that the test has for itself.
func newPostgres(t *testing.T) *postgrestest.Server {
	t.Helper()
	return postgrestest.New(t, postgrestest.Options{})
}

// withPassword returns an address with a password, which the server does not ask for.
func withPassword(address string) string { return strings.Replace(address, "@", ":hunter2@", 1) }

// The password of the database is neither printed nor logged, whether the gateway can start or not, and a gateway that
// loses its database is not ready until that is back.
func TestPostgresIsLostAndFound(t *testing.T) {
	server := newPostgres(t)
	s := serveHere(t, "--database", withPassword(server.Address("postgres")), "--verbose")
	t.Setenv(databaseVariable, withPassword(server.Address("postgres")))
	token := newToken(t, s.data)
	ask := func() int { status, _ := s.ask(t, "/anthropic/v1/messages", token, helloBody); return status }
	if status := ask(); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	s.becomes(t, http.StatusOK, "ready")
	check(t, server.Kill())
	s.becomes(t, http.StatusServiceUnavailable, "the database does not answer")
	check(t, server.Restart())
	s.becomes(t, http.StatusOK, "ready")
	if status := ask(); status != http.StatusOK {
		t.Fatalf("afterwards: status %d", status)
	}
	s.flushed(t)
	if n := recorded(t, s.data); n != 2 {
		t.Errorf("%d interceptions are recorded", n)
	}
	if left, _ := filepath.Glob(filepath.Join(s.data, "*.db*")); len(left) > 0 {
		t.Errorf("there are files of a database: %v", left)
	}
}

func TestPostgresPasswordIsKept(t *testing.T) {
	t.Parallel()
	server := newPostgres(t)
	for name, test := range map[string]struct {
		address string
		want    string // In what is printed, logged and returned.
	}{
		"served":         {withPassword(server.Address("postgres")), "postgres on 127.0.0.1"},
		"no server":      {"postgres://u:hunter2@127.0.0.1:1/db", "db on 127.0.0.1:1"},
		"no database":    {withPassword(server.Address("missing")), "does not exist"},
		"no escape":      {"postgres://u:a@hunter2@127.0.0.1:1/db", "write postgres://"},
		"no address":     {"postgres://u:hunter2@127.0.0.1:port/db", "write postgres://"},
		"a path":         {"/var/lib/hunter2.db", "write postgres://"},
		"another engine": {"mysql://u:hunter2@127.0.0.1/db", "write postgres://"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			out, errOut, err := run(ctx, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", t.TempDir(), "--verbose", "--database", test.address)
			all := out + errOut
			if err != nil {
				all += err.Error()
			}
			if strings.Contains(all, "hunter2") || !strings.Contains(all, test.want) || (err == nil) != (name == "served") {
				t.Errorf("got %s, want %s", all, test.want)
			}
		})
	}
}

// A database without tables, where an earlier gateway has left records, is another one than that gateway's.
func TestEmptyPostgresIsRefused(t *testing.T) {
	server := newPostgres(t)
	s := settings{dataDir: t.TempDir(), postgres: server.Address("postgres")}
	check(t, os.MkdirAll(s.records(), 0o700))
	check(t, os.WriteFile(filepath.Join(s.records(), "cursor"), nil, 0o600))
	err := checkDatabase(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "missing or empty") || !strings.Contains(err.Error(), "PostgreSQL") {
		t.Errorf("got %v", err)
	}
	control, err := openStore(t.Context(), s, slog.Logger{})
	check(t, err)
	check(t, control.Close())
	check(t, checkDatabase(t.Context(), s))
}

// While the gateway is being made, its process is alive and not ready; then the same listeners serve it.
func TestStarting(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	early := answerStarting(listener, nil)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	status := func(path string) int {
		response, err := client.Get("http://" + listener.Addr().String() + path)
		check(t, err)
		check(t, response.Body.Close())
		return response.StatusCode
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/anthropic/v1/messages": 503} {
		if got := status(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	check(t, early.end())
	later := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })}
	ended := make(chan error, 1)
	go func() { ended <- later.Serve(listener) }()
	if got := status("/healthz"); got != http.StatusTeapot {
		t.Errorf("afterwards: %d", got)
	}
	check(t, later.Close())
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
