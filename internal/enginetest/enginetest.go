// Package enginetest lets a package's tests run on SQLite, or on PostgreSQL where a flag says so:
//
//	var engine = enginetest.New()
//
//	func TestMain(m *testing.M) { engine.Main(m) }
//
//	go test ./aibridgedserver/... -args -postgres
package enginetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/postgres"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/internal/postgrestest"
)

// Engine is the engine that the tests of a package run on. It is safe for concurrent use.
type Engine struct {
	onPostgres, durable, onPooler *bool

	server *postgrestest.Server // Nil: SQLite.
	pooler *postgrestest.Pooler // Nil: none.

	mu        sync.Mutex
	addresses map[string]string // By path. Guarded by mu.
}

// New returns an engine, and makes its flags.
func New() *Engine {
	return &Engine{
		onPostgres: flag.Bool("postgres", false, "run on PostgreSQL, which the tests start"),
		durable:    flag.Bool("durable", false, "with -postgres: let the server sync what it commits, for figures"),
		onPooler:   flag.Bool("pooler", false, "with -postgres: put a pooler in front, which gives each transaction another connection"),
		addresses:  map[string]string{},
	}
}

// Main runs the tests and ends the process. It fails if goroutines are left.
func (e *Engine) Main(m *testing.M) {
	flag.Parse()
	code, err := e.run(m)
	if err = errors.Join(err, goleak.Find()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func (e *Engine) run(m *testing.M) (code int, err error) {
	if !*e.onPostgres {
		return m.Run(), nil
	}
	if e.server, err = postgrestest.Start(postgrestest.Options{Durable: *e.durable}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, e.server.Stop()) }()
	if *e.onPooler {
		if e.pooler, err = postgrestest.StartPooler(e.server); err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, e.pooler.Stop()) }()
	}
	if err := e.makeTemplate(context.Background()); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// template is the database that those of the tests are copies of.
const template = "migrated"

func (e *Engine) makeTemplate(ctx context.Context) error {
	if err := e.server.Exec(ctx, "postgres", "CREATE DATABASE "+template); err != nil {
		return err
	}
	db, err := postgres.Open(ctx, e.server.Address(template), postgres.Options{})
	if err != nil {
		return err
	}
	return db.Close()
}

// address returns the address of a path's database, which it makes when it is first asked for. A path that is an address is its own.
func (e *Engine) address(tb testing.TB, path string) string {
	tb.Helper()
	if strings.HasPrefix(path, "postgres://") {
		return path
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if address, ok := e.addresses[path]; ok {
		return address
	}
	name := e.server.Database(tb, template)
	address := e.server.Address(name)
	if e.pooler != nil {
		address = e.pooler.Address(name)
	}
	e.addresses[path] = address
	return address
}

// Open opens the database of a path, which may be open already. The caller closes it.
func (e *Engine) Open(tb testing.TB, path string) aibridgedserver.Database {
	tb.Helper()
	var db aibridgedserver.Database
	var err error
	if e.Postgres() {
		db, err = postgres.Open(tb.Context(), e.address(tb, path), postgres.Options{})
	} else {
		db, err = sqlite.Open(tb.Context(), path)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

// Postgres reports whether the engine is PostgreSQL.
func (e *Engine) Postgres() bool { return e.server != nil }

// SQLiteOnly skips a test that is about something that only SQLite has.
func (e *Engine) SQLiteOnly(tb testing.TB) {
	tb.Helper()
	if e.Postgres() {
		tb.Skip("it is about SQLite")
	}
}

// Text returns the text of the engine.
func (e *Engine) Text(sqlite, postgres string) string {
	if e.Postgres() {
		return strings.TrimSpace(postgres)
	}
	return sqlite
}
