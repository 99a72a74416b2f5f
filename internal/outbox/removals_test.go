package outbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// removals checks the order in which a queue removes segments: one that was synced, and may have been delivered, only
// once a later one is durable with its name. It is safe for concurrent use.
type removals struct {
	mu       sync.Mutex
	segments map[string]*segmentFile // By path.
	gone     int
	wrong    []string
}

type segmentFile struct{ written, synced, named bool }

// watch is a fault that lets all calls pass except those that fault fails.
func (r *removals) watch(fault func(call, path string) error) func(call, path string) error {
	r.segments = map[string]*segmentFile{}
	return func(call, path string) error {
		if fault != nil {
			if err := fault(call, path); err != nil {
				return err
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.note(call, path)
		return nil
	}
}

func (r *removals) note(call, path string) {
	if call == "syncdir" {
		for other, s := range r.segments {
			s.named = s.named || filepath.Dir(other) == path
		}
	}
	if parseSegmentName(filepath.Base(path)) == nil {
		return
	}
	s := r.segments[path]
	switch call {
	case "create":
		r.segments[path] = &segmentFile{}
	case "write":
		s.written = true
	case "sync":
		s.synced = s.written
	case "remove", "rename":
		delete(r.segments, path)
		if s != nil && !s.synced {
			return // A segment that was never synced may go at any time.
		}
		r.gone++
		for other, later := range r.segments {
			if other > path && later.synced && later.named {
				return
			}
		}
		r.wrong = append(r.wrong, filepath.Base(path))
	}
}

func (r *removals) check(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wrong) > 0 {
		t.Errorf("removed before a later segment lasted: %q", r.wrong)
	}
	if r.gone == 0 {
		t.Error("none was removed")
	}
}

// TestRemovals has segments that are removed at run time and at the next start, while the disk fails or is full now and
// then. It checks that they go in the right order, and that what is delivered and what the owner knows stay right.
func TestRemovals(t *testing.T) {
	for name, durability := range map[string]Durability{"sync": Sync, "kernel": Kernel} {
		for seed := range uint64(8) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				l := lives{dir: t.TempDir(), files: newFaultyFiles(), rng: rand.New(rand.NewPCG(seed, uint64(durability)))}
				var (
					watched removals
					failing atomic.Bool
				)
				l.files.set(watched.watch(func(call, path string) error {
					// Every third segment cannot be synced, by its salt.
					if s := parseSegmentName(filepath.Base(path)); call == "sync" && failing.Load() && s != nil && s.salt%3 == 0 {
						return syscall.EIO
					}
					return nil
				}))
				for range 4 {
					var owner ledger
					options := owner.options(Options{Durability: durability, files: l.files, SegmentBytes: 300, ReserveBytes: 64 << 10})
					q := mustOpen(t, l.dir, options)
					failing.Store(seed%2 == 1)
					l.live(t, q, &owner)
					failing.Store(false)
					l.files.setRoom(-1)
					mustClose(t, q)
					var next ledger
					mustClose(t, mustOpen(t, l.dir, next.options(Options{files: l.files, ReserveBytes: 64 << 10})))
					if !slices.Equal(next.names(), owner.names()) {
						t.Errorf("open at the end %q, and at the next start %q", owner.names(), next.names())
					}
				}
				checkOnce(t, append(l.delivered, drain(t, mustOpen(t, l.dir, Options{files: l.files}))...), l.appended)
				watched.check(t)
			})
		}
	}
}

// lives are the queues that are opened one after the other in one directory.
type lives struct {
	dir   string
	files *faultyFiles
	rng   *rand.Rand

	appended, delivered []string
}

// live appends and delivers at random, on a disk that is full now and then.
func (l *lives) live(t *testing.T, q *Queue, owner *ledger) {
	t.Helper()
	for range 60 {
		switch l.rng.IntN(8) {
		case 0:
			l.files.setRoom(int64(l.rng.IntN(500)))
		case 1:
			l.files.setRoom(-1)
		case 2:
			l.delivered = append(l.delivered, deliverSome(t, q, min(q.Stats().Pending, l.rng.IntN(5)))...)
		default:
			l.append(t, q, owner)
		}
	}
}

// append starts something or ends what is open.
func (l *lives) append(t *testing.T, q *Queue, owner *ledger) {
	t.Helper()
	entry, add := fmt.Sprint("start ", len(l.appended)), q.Append
	if open := owner.names(); len(open) > l.rng.IntN(8) {
		entry, add = "end "+open[l.rng.IntN(len(open))], q.AppendReserved
	}
	commit, err := add([]byte(entry))
	if errors.Is(err, ErrFull) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	l.appended = append(l.appended, entry)
	if l.rng.IntN(3) == 0 {
		_ = commit.Wait(t.Context()) // Of a sync that fails twice, it says so; the entry is there all the same.
	}
}

// checkOnce compares what was delivered with what was appended, but for entries that came twice.
func checkOnce(t *testing.T, got, want []string) {
	t.Helper()
	seen := map[string]bool{}
	got = slices.DeleteFunc(slices.Clone(got), func(entry string) bool {
		again := seen[entry]
		seen[entry] = true
		return again
	})
	checkEntries(t, got, want)
}
