package crashtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// startPatience is far more than a start after a power failure takes, including the delivery of the records that wait.
const startPatience = time.Minute

// cuts runs power failures, and collects what a start finds after each. Failures that leave the same files share one
// start.
type cuts struct {
	t    *testing.T
	room chan struct{} // A place for each start that runs. Starts mostly wait for batches of records to fill.

	starts  sync.WaitGroup
	results map[[sha256.Size]byte]*found
	cuts    []cut
}

// cut is one power failure.
type cut struct {
	what   string
	made   []promise
	result *found
}

func newCuts(t *testing.T) *cuts {
	return &cuts{t: t, room: make(chan struct{}, 8*runtime.GOMAXPROCS(0)), results: map[[sha256.Size]byte]*found{}}
}

// at simulates a power failure before each step of a machine and after the last one, in several ways each time.
func (c *cuts) at(what string, m *machine, p *promises, losses func(step int) []loss, rng *rand.Rand) {
	now, steps := m.begin.clone(), m.all()
	for n := 0; n <= len(steps); n++ {
		for _, l := range losses(n) {
			c.cut(fmt.Sprintf("%s, before step %d of %d, %v", what, n, len(steps), l), now.after(l, rng), p.before(n))
		}
		if n < len(steps) {
			now.apply(steps[n])
		}
	}
}

// cut notes a power failure and starts a host on the files that it left.
func (c *cuts) cut(what string, left remains, made []promise) {
	sum := left.sum()
	result, known := c.results[sum]
	if !known {
		result = &found{}
		c.results[sum] = result
		c.room <- struct{}{}
		c.starts.Go(func() {
			defer func() { <-c.room }()
			*result = startOn(c.t.Context(), left)
			if complaints := result.check(made); len(complaints) > 0 {
				c.keep(what, left)
			}
		})
	}
	c.cuts = append(c.cuts, cut{what, made, result})
}

// keep saves the files that a power failure left, for inspection.
func (c *cuts) keep(what string, left remains) {
	dir, err := os.MkdirTemp("", "powerloss-")
	if err == nil {
		err = left.write(dir)
	}
	c.t.Logf("%s: what is left is in %s (%v)", what, dir, err)
}

// done waits for all starts and reports broken promises. It returns how many starts there were.
func (c *cuts) done() {
	c.t.Helper()
	c.starts.Wait()
	broken := 0
	for _, cut := range c.cuts {
		complaints := cut.result.check(cut.made)
		if len(complaints) == 0 {
			continue
		}
		if broken++; broken <= shownComplaints {
			c.t.Errorf("%s: %q", cut.what, complaints)
		}
	}
	if broken > 0 {
		c.t.Errorf("%d of %d power failures broke a promise", broken, len(c.cuts))
	}
	c.t.Logf("%d power failures, %d starts", len(c.cuts), len(c.results))
}

// memoryDirectory returns the directory of a file system in memory, or the one for temporary files where there is none:
// the tests here note syncs and do not make them.
func memoryDirectory() string {
	const shared = "/dev/shm"
	if info, err := os.Stat(shared); err == nil && info.IsDir() {
		return shared
	}
	return os.TempDir()
}

// startOn starts a host on the files that a power failure left, and returns what it finds.
func startOn(ctx context.Context, left remains) (f found) {
	root, err := os.MkdirTemp(memoryDirectory(), "powerloss-start-")
	if err != nil {
		return found{err: err}
	}
	defer os.RemoveAll(root)
	if err := left.write(root); err != nil {
		return found{err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	m := newMachine(root, newPicture())
	m.silent = true
	h, err := startHost(ctx, m)
	if err != nil {
		return found{err: err}
	}
	f, err = h.look(ctx)
	f.err = errors.Join(err, h.stop())
	return f
}
