package aibridgedserver_test

import (
	"context"
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

// The tests of this package are the suite of its engines. They run on SQLite, or on PostgreSQL where this flag is given.
var (
	onPostgres = flag.Bool("postgres", false, "run on PostgreSQL, which the tests start")
	durable    = flag.Bool("durable", false, "with -postgres: let the server sync what it commits, for figures")
	onPooler   = flag.Bool("pooler", false, "with -postgres: put a pooler in front, which gives each transaction another connection")
)

// postgresEngine gives each path a database of its own.
type postgresEngine struct {
	server *postgrestest.Server
	pooler *postgrestest.Pooler // Nil: none.

	mu        sync.Mutex
	addresses map[string]string // By path. Guarded by mu.
}

// running is the engine of a run with -postgres, or nil.
var running *postgresEngine

func TestMain(m *testing.M) {
	flag.Parse()
	code := runTests(m)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) int {
	if *onPostgres {
		server, err := postgrestest.Start(postgrestest.Options{Durable: *durable})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer server.Stop()
		running = &postgresEngine{server: server, addresses: map[string]string{}}
		if *onPooler {
			if running.pooler, err = postgrestest.StartPooler(server); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			defer running.pooler.Stop()
		}
		if err := running.makeTemplate(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// template is the database that those of the tests are copies of.
const template = "migrated"

func (e *postgresEngine) makeTemplate(ctx context.Context) error {
	if err := e.server.Exec(ctx, "postgres", "CREATE DATABASE "+template); err != nil {
		return err
	}
	db, err := postgres.Open(ctx, e.server.Address(template), postgres.Options{})
	if err != nil {
		return err
	}
	return db.Close()
}

// address returns the address of a path's database, which it makes when it is first asked for.
func (e *postgresEngine) address(tb testing.TB, path string) string {
	tb.Helper()
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

// openDatabase opens the database of a path, which may be open already.
func openDatabase(tb testing.TB, path string) aibridgedserver.Database {
	tb.Helper()
	var db aibridgedserver.Database
	var err error
	if running != nil {
		db, err = postgres.Open(tb.Context(), running.address(tb, path), postgres.Options{})
	} else {
		db, err = sqlite.Open(tb.Context(), path)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

// sqliteOnly skips a test that is about something that only SQLite has.
func sqliteOnly(tb testing.TB) {
	tb.Helper()
	if running != nil {
		tb.Skip("it is about SQLite")
	}
}

// forEngine returns the text of the engine that the tests run on.
func forEngine(sqlite, postgres string) string {
	if running != nil {
		return strings.TrimSpace(postgres)
	}
	return sqlite
}
