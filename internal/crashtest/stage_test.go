package crashtest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/internal/fakellm"
)

const (
	clients = 32
	// clientPatience is far more than an answer takes, even while the control plane is away for a time.
	clientPatience = 60 * time.Second
)

// stage is the setup of a test: an upstream, and a gateway and a control plane as processes of their own, which the
// test starts. The test has a connection of its own to the database.
type stage struct {
	t       *testing.T
	chance  chance
	dir     string // Holds all files. It is kept where the test fails.
	records string // The gateway's directory.

	// ctx ends with the test, or with its first failure: fail.
	ctx   context.Context
	abort context.CancelFunc

	ledger   *ledger
	upstream *httptest.Server
	front    *http.Client
	token    string
	db       aibridgedserver.Database
	store    *aibridgedserver.Server

	gatewayTask task
	controlTask task

	mu        sync.Mutex
	starts    int        // Guarded by mu.
	processes []*process // Guarded by mu; all processes that were started.

	lives []life // The gateway's; only the test's own goroutine uses them.
}

// newEmptyStage returns a stage that has an upstream, and neither a database nor tasks.
func newEmptyStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, chance: newChance(t), ledger: newLedger()}
	s.ctx, s.abort = context.WithCancel(t.Context())
	t.Cleanup(s.abort)
	s.makeDirectory()
	s.upstream = httptest.NewServer(s.ledger.noteAnswers(fakellm.New(fakellm.Options{Log: s.ledger.serve})))
	t.Cleanup(s.upstream.Close)
	transport := &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	s.front = &http.Client{Transport: transport}
	return s
}

func newStage(t *testing.T, durability aibridged.Durability) *stage {
	t.Helper()
	s := newEmptyStage(t)
	s.records = filepath.Join(s.dir, "records")
	rng := s.chance.of("addresses")
	given := addresses{}
	gateway, err := given.fixed(rng)
	s.must(err)
	control, err := given.fixed(rng)
	s.must(err)
	database := filepath.Join(s.dir, "control.db")
	s.controlTask = task{Role: roleControlPlane, Address: control, Database: database}
	s.gatewayTask = task{
		Role: roleGateway, Address: gateway, Upstream: s.upstream.URL, ControlPlane: control,
		Records: aibridged.RecordOptions{Directory: s.records, Durability: durability},
	}
	db, err := sqlite.Open(s.ctx, database)
	s.must(err)
	s.useDatabase(db)
	s.token, _, err = s.store.CreateToken(s.ctx, aibridgedserver.TokenParams{Username: user})
	s.must(err)
	t.Cleanup(s.endAll)
	return s
}

// makeDirectory makes the directory of the stage, with one for logs in it.
func (s *stage) makeDirectory() {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "crashtest-")
	s.must(err)
	s.dir = dir
	s.must(os.Mkdir(s.logs(), 0o700))
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("logs, database and records are in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			s.t.Error(err)
		}
	})
}

func (s *stage) logs() string { return filepath.Join(s.dir, "logs") }

// useDatabase gives the test itself the database. It is closed at the end of the test.
func (s *stage) useDatabase(db aibridgedserver.Database) {
	s.t.Helper()
	s.db = db
	s.t.Cleanup(func() {
		if err := db.Close(); err != nil {
			s.t.Error(err)
		}
	})
	var err error
	s.store, err = aibridgedserver.New(s.ctx, db, aibridgedserver.Options{})
	s.must(err)
	s.t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			s.t.Error(err)
		}
	})
}

// must ends the test where err is not nil. Only the test's own goroutine may call it.
func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// fail fails the test and ends everything that runs in it. Any goroutine may call it.
func (s *stage) fail(err error) {
	s.t.Helper()
	s.t.Error(err)
	s.abort()
}

// going ends the test if it has failed in another goroutine, or if a client got an answer that none should get.
func (s *stage) going() {
	s.t.Helper()
	wrongs := s.ledger.wrongs()
	for _, a := range wrongs[:min(len(wrongs), shownComplaints)] {
		s.t.Errorf("%s: %s", a.model, a.detail)
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// start starts a process and does not wait until it is ready.
func (s *stage) start(do task) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts++
	p, err := startTask(do, s.starts, s.logs())
	if err != nil {
		return nil, err
	}
	s.processes = append(s.processes, p)
	return p, nil
}

// startReady starts a process and waits until it is ready.
func (s *stage) startReady(do task) (*process, error) {
	p, err := s.start(do)
	if err != nil {
		return nil, err
	}
	return p, p.awaitReady()
}

// endAll ends the processes that still run.
func (s *stage) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		_ = p.cmd.Process.Kill() // Most have ended already, so the error says nothing.
		<-p.ended
	}
}

// load starts clients that send requests. The returned function lets them finish and waits for them.
func (s *stage) load(configure func(n int, c *client)) (finish func()) {
	return s.loadOf(clients, configure)
}

// loadOf is load for a number of clients.
func (s *stage) loadOf(number int, configure func(n int, c *client)) (finish func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	var running sync.WaitGroup
	for n := range number {
		name := fmt.Sprintf("client%02d", n)
		c := &client{
			name: name, rng: s.chance.of(name), http: s.front, base: "http://" + s.gatewayTask.Address, user: user, token: s.token,
			ledger: s.ledger, pace: func() pace { return quick() }, patience: clientPatience,
		}
		configure(n, c)
		running.Go(func() { c.run(ctx, s.ctx) })
	}
	finish = func() {
		cancel()
		running.Wait()
	}
	s.t.Cleanup(func() {
		s.abort() // Where the test ended before it called finish.
		finish()
	})
	return finish
}

// quick returns a pace at which most clients are within an answer when a kill comes.
func quick() pace { return pace{event: 10 * time.Millisecond, whole: 100 * time.Millisecond} }

// await waits until isSo returns true.
func (s *stage) await(patience time.Duration, what string, isSo func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	for !isSo() {
		s.going()
		if !pause(ctx, 20*time.Millisecond) {
			s.going()
			s.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
