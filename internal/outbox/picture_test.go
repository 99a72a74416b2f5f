package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"cdr.dev/slog/v3"
)

// business is what the appenders know about the things that they start and end. It is safe for concurrent use.
type business struct {
	mu               sync.Mutex
	starting, ending map[string]bool // What an Append was called for.
	started, ended   map[string]bool // What is as durable as the queue makes it.
}

func newBusiness() *business {
	return &business{
		starting: map[string]bool{}, ending: map[string]bool{}, started: map[string]bool{}, ended: map[string]bool{},
	}
}

func (b *business) note(in map[string]bool, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in[name] = true
}

// known returns what is durable now.
func (b *business) known() (started, ended []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name := range b.started {
		started = append(started, name)
	}
	for name := range b.ended {
		ended = append(ended, name)
	}
	return started, ended
}

// run starts things and ends them until the queue is closed. Every fifth thing stays open.
func (b *business) run(t *testing.T, q *Queue, appender int, wait bool, tell chan<- struct{}) {
	do := func(add func(...[]byte) (Commit, error), what, name string, doing, done map[string]bool) error {
		b.note(doing, name)
		commit, err := add([]byte(what + " " + name))
		if err == nil && wait {
			err = commit.Wait(t.Context())
		}
		if err == nil {
			b.note(done, name)
		}
		return err
	}
	for n := 0; ; n++ {
		err := do(q.Append, "start", fmt.Sprint(appender, "-", n), b.starting, b.started)
		if old := n - 3; err == nil && old >= 0 && old%5 != 0 {
			err = do(q.AppendReserved, "end", fmt.Sprint(appender, "-", old), b.ending, b.ended)
		}
		if errors.Is(err, ErrClosed) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		select {
		case tell <- struct{}{}:
		default:
		}
	}
}

// check compares what an owner knows at a start with what was durable before the end.
func (b *business) check(t *testing.T, owner *ledger, started, ended []string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range started {
		if !b.ending[name] && !owner.open[name] {
			t.Errorf("%s was open and is not known", name)
		}
	}
	for _, name := range ended {
		if owner.open[name] {
			t.Errorf("%s had ended and is open", name)
		}
	}
	for _, name := range owner.names() {
		if !b.starting[name] {
			t.Errorf("%s is open and never began", name)
		}
	}
}

// TestFault075OpenAfterEnd ends the process, or stops the machine, at random moments: what the next process is told
// says what had started and not ended, though most of the segments are gone.
func TestFault075OpenAfterEnd(t *testing.T) {
	for _, test := range []struct {
		name       string
		durability Durability
		machine    bool
	}{
		{"machine, sync", Sync, true}, {"process, sync", Sync, false}, {"process, kernel", Kernel, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(75, uint64(test.durability)))
			for range 15 {
				openAfterEnd(t, test.durability, test.machine, rng)
			}
		})
	}
}

func openAfterEnd(t *testing.T, durability Durability, machine bool, rng *rand.Rand) {
	t.Helper()
	dir, after, files, b := t.TempDir(), t.TempDir(), newVolatileFiles(), newBusiness()
	q := mustOpen(t, dir, (&ledger{}).options(Options{Durability: durability, files: files, SegmentBytes: 1 << 10}))
	stop := deliver(t, q, DeliverOptions{}, (&receiver{}).send)
	defer stop()
	tell := make(chan struct{})
	var appenders sync.WaitGroup
	for a := range 4 {
		appenders.Go(func() { b.run(t, q, a, machine, tell) })
	}
	for range 30 + rng.IntN(100) {
		<-tell
	}
	started, ended := b.known()
	if machine {
		files.stop(t, dir, after, rng)
	} else {
		files.stop(t, dir, after, nil)
	}
	mustClose(t, q)
	appenders.Wait()

	var owner ledger
	log := &logLines{}
	q = mustOpen(t, after, owner.options(Options{ReserveBytes: 1, Logger: slog.Make(log)}))
	if n := log.count("missing") + log.count("inventory"); n > 0 {
		t.Errorf("taken for damage: %q", log.lines)
	}
	b.check(t, &owner, started, ended)
	mustClose(t, q)
}

// TestFault076OpenAtEachStep ends the process, or stops the machine, before each change that a start makes to the disk:
// the next process is told the same as this one.
func TestFault076OpenAtEachStep(t *testing.T) {
	for _, delivered := range []int{0, 15, 30} {
		t.Run(fmt.Sprint(delivered, " delivered"), func(t *testing.T) {
			dir := t.TempDir()
			owner := &ledger{}
			q := mustOpen(t, dir, owner.options(Options{files: quick{}, SegmentBytes: 200}))
			for n := range 20 {
				mustAppend(t, q, fmt.Sprint("start ", n))
				if n%2 == 1 {
					mustAppend(t, q, fmt.Sprint("end ", n/2))
				}
			}
			deliverSome(t, q, delivered)
			mustClose(t, q)
			rng, steps := rand.New(rand.NewPCG(76, 0)), 0
			for step := 1; step <= steps+1; step++ {
				after, taken := stopAtStep(t, dir, step, rng)
				steps = max(steps, taken)
				var next ledger
				log := &logLines{}
				q := mustOpen(t, after, next.options(Options{files: quick{}, ReserveBytes: 1, Logger: slog.Make(log)}))
				if n := log.count("missing") + log.count("inventory"); n > 0 {
					t.Errorf("before step %d: taken for damage: %q", step, log.lines)
				}
				if !slices.Equal(next.names(), owner.names()) {
					t.Errorf("before step %d: open are %q, want %q", step, next.names(), owner.names())
				}
				if n := q.Stats().Pending; n < 30-delivered {
					t.Errorf("before step %d: %d entries are pending", step, n)
				}
				mustClose(t, q)
			}
			if steps < 10 {
				t.Errorf("only %d steps", steps)
			}
		})
	}
}

// stopAtStep opens a queue in a copy of a directory and stops the machine before a step, or the process at every third.
// It returns what is left, and how many steps there were.
func stopAtStep(t *testing.T, dir string, step int, rng *rand.Rand) (after string, steps int) {
	t.Helper()
	now, after, files := filepath.Join(t.TempDir(), "now"), t.TempDir(), newVolatileFiles()
	if err := os.CopyFS(now, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(now, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files.named[path], files.synced[path] = true, readFile(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if step%3 == 0 {
		rng = nil
	}
	files.before = func() {
		if steps++; steps == step {
			files.copy(t, now, after, rng)
		}
	}
	q := mustOpen(t, now, (&ledger{}).options(Options{files: files, ReserveBytes: 1}))
	files.mu.Lock()
	files.before = nil
	taken := steps
	files.mu.Unlock()
	mustClose(t, q)
	if taken < step {
		files.stop(t, now, after, nil)
	}
	return after, taken
}
