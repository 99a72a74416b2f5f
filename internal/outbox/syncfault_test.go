package outbox

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
)

// TestFault080SyncFails has a disk that loses what it could not sync, as Linux does: a second sync of the same file
// would succeed. The entries are written again, to another segment.
func TestFault080SyncFails(t *testing.T) {
	for _, inMemory := range []bool{true, false} {
		t.Run(fmt.Sprint("in memory ", inMemory), func(t *testing.T) {
			files, log, dir := newFaultyFiles(), &logLines{}, t.TempDir()
			q := mustOpen(t, dir, Options{files: files, Logger: slog.Make(log)})
			want := numbered(0, 10)
			mustAppend(t, q, want...)
			if !inMemory {
				q.recent.limit = 1
			}
			var once atomic.Bool
			files.set(func(call, path string) error {
				if call == "sync" && strings.HasSuffix(path, ".log") && once.CompareAndSwap(false, true) {
					return syscall.EIO
				}
				return nil
			})
			mustAppend(t, q, "entry 10")
			q.mu.Lock()
			if q.segments[0].file != nil || len(q.unsynced) != 0 {
				t.Error("the file of the segment that was given up is still open")
			}
			q.mu.Unlock()
			mustAppend(t, q, "entry 11")
			if n := log.count("written again"); n != 1 {
				t.Errorf("%d log lines", n)
			}
			if s := q.Stats(); s.Pending != 12 || s.AppendErrors != 1 || s.Damaged != 0 {
				t.Errorf("%+v", s)
			}
			segments := names(t, dir, "*.log")
			if len(segments) != 2 {
				t.Fatalf("segments %q", segments)
			}
			// What the kernel threw away is gone from the file.
			content := readFile(t, segments[0])
			writeFile(t, segments[0], content[:len(content)-frameOverhead-8])
			want = append(want, "entry 10", "entry 11")
			if inMemory {
				mustClose(t, q)
				q = mustOpen(t, dir, Options{})
			}
			checkEntries(t, drain(t, q), want)
			if s := q.Stats(); s.Damaged != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestFault080WhileDelivering has syncs that fail now and then under load: each entry is delivered once, in order.
func TestFault080WhileDelivering(t *testing.T) {
	for _, limit := range []int64{recentBytes, 500} {
		files, dir := newFaultyFiles(), t.TempDir()
		q := mustOpen(t, dir, Options{files: files, SegmentBytes: 2 << 10})
		q.recent.limit = limit
		var syncs atomic.Int64
		files.set(func(call, path string) error {
			if call == "sync" && strings.HasSuffix(path, ".log") && syncs.Add(1)%4 == 0 {
				return syscall.EIO
			}
			return nil
		})
		var r receiver
		stop := deliver(t, q, DeliverOptions{BatchEntries: 5}, r.send)
		var appenders sync.WaitGroup
		for a := range 8 {
			appenders.Go(func() {
				for n := range 100 {
					commit, err := q.Append(fmt.Appendf(nil, "%d %03d", a, n))
					if err != nil {
						t.Error(err)
					}
					if n%7 == 0 {
						_ = commit.Wait(t.Context()) // The second sync may have failed, too.
					}
				}
			})
		}
		appenders.Wait()
		flush(t, q)
		stop()
		got := r.entries()
		slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
		if len(got) != 800 || !slices.IsSorted(got) || len(slices.Compact(got)) != 800 {
			t.Errorf("%d entries", len(got))
		}
		if s := q.Stats(); s.Pending != 0 || s.Bytes != 0 || s.Delivered != 800 || s.Damaged != 0 {
			t.Errorf("%+v", s)
		}
		files.set(nil)
		mustClose(t, q)
		// A cursor that was written while entries moved to another segment may be short of some.
		if again := drain(t, mustOpen(t, dir, Options{})); !containsAll(got, again...) {
			t.Errorf("delivered at last: %q", again)
		}
	}
}

// TestFault080OldSegmentGoes has entries written again, and all delivered: the segment that was given up is removed
// without another append.
func TestFault080OldSegmentGoes(t *testing.T) {
	files, dir := newFaultyFiles(), t.TempDir()
	q := mustOpen(t, dir, Options{files: files})
	mustAppend(t, q, "one")
	var once atomic.Bool
	files.set(func(call, path string) error {
		if call == "sync" && once.CompareAndSwap(false, true) {
			return syscall.EIO
		}
		return nil
	})
	mustAppend(t, q, "two")
	if n := len(names(t, dir, "*.log")); n != 2 {
		t.Errorf("%d segments", n)
	}
	checkEntries(t, drain(t, q), []string{"one", "two"})
	if n := len(names(t, dir, "*.log")); n != 1 {
		t.Errorf("%d segments are left", n)
	}
}

// TestFault080Hangs has a sync that hangs and then fails. As long as it hangs, nothing is delivered: an entry that the
// disk may lose must not reach the receiver, or after a power failure only the receiver would have it. Then the entries
// are written again, and delivered once.
func TestFault080Hangs(t *testing.T) {
	for _, inMemory := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			files, dir := newFaultyFiles(), t.TempDir()
			q := mustOpen(t, dir, Options{files: files})
			if !inMemory {
				q.recent.limit = 1
			}
			release, first := make(chan struct{}), q.active.fileName()
			files.set(func(call, path string) error {
				if call == "sync" && filepath.Base(path) == first {
					<-release
					return syscall.EIO
				}
				return nil
			})
			var r receiver
			stop := deliver(t, q, DeliverOptions{}, r.send)
			var last Commit
			for _, entry := range numbered(0, 3) { // The second and the third come while it hangs.
				commit, err := q.Append([]byte(entry))
				if err != nil {
					t.Fatal(err)
				}
				last = commit
				<-time.After(time.Minute)
			}
			if got := r.entries(); len(got) != 0 {
				t.Errorf("delivered %q, which no sync was for", got)
			}
			close(release)
			if err := last.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			flush(t, q)
			stop()
			checkEntries(t, r.entries(), numbered(0, 3))
			if s := q.Stats(); s != (Stats{Delivered: 3, AppendErrors: 1}) {
				t.Errorf("%+v", s)
			}
			mustClose(t, q)
		})
	}
}

// TestFault080Moved has a reader that is about to read entries from a segment when they are written again elsewhere.
func TestFault080Moved(t *testing.T) {
	files := newFaultyFiles()
	q := mustOpen(t, t.TempDir(), Options{files: files})
	old := q.active
	var once atomic.Bool
	files.set(func(call, path string) error {
		if call == "sync" && once.CompareAndSwap(false, true) {
			return syscall.EIO
		}
		return nil
	})
	mustAppend(t, q, numbered(0, 5)...)
	q.recent = recent{}
	r := q.newReader(place{}, q.deliverable)
	defer r.close()
	if err := r.takeFrom(old, q.end, 10, 1000); err != nil || len(r.items) != 0 || r.at != (place{}) {
		t.Errorf("%v, %v, %v", r.items, r.at, err)
	}
	items, err := r.take(10, 1000)
	if err != nil || len(items) != 5 {
		t.Errorf("%v, %v", items, err)
	}
	if s := q.Stats(); s.Damaged != 0 {
		t.Errorf("%+v", s)
	}
}

// TestFault080DiskGone has a disk on which nothing can be made durable any more: each Wait fails, and what can be
// delivered still is.
func TestFault080DiskGone(t *testing.T) {
	for _, call := range []string{"sync", "sync create", "syncdir"} {
		t.Run(call, func(t *testing.T) {
			files, dir := newFaultyFiles(), t.TempDir()
			options := Options{files: files}
			if call == "syncdir" {
				options.SegmentBytes = 1 // Another segment has another name.
			}
			q := mustOpen(t, dir, options)
			mustAppend(t, q, "before")
			files.set(func(c, _ string) error {
				if slices.Contains(strings.Fields(call), c) {
					return syscall.EIO
				}
				return nil
			})
			commit, err := q.Append([]byte("in the kernel only"))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := commit.Wait(t.Context()); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v, want ErrFailed", err)
				}
			}
			files.set(nil)
			mustAppend(t, q, "after")
			checkEntries(t, drain(t, q), []string{"before", "in the kernel only", "after"})
		})
	}
}

// TestFault080EntryGone has a disk that lost an entry which is not in memory either: its hole costs no other entry.
func TestFault080EntryGone(t *testing.T) {
	files, dir := newFaultyFiles(), t.TempDir()
	q := mustOpen(t, dir, Options{files: files})
	mustAppend(t, q, "before")
	q.recent.limit = 1
	var once atomic.Bool
	begun, release := make(chan struct{}), make(chan struct{})
	files.set(func(call, path string) error {
		if call == "sync" && once.CompareAndSwap(false, true) {
			close(begun)
			<-release
			return syscall.EIO
		}
		return nil
	})
	var commits []Commit
	for _, entry := range []string{"first", "second", "third"} {
		commit, err := q.Append([]byte(entry))
		if err != nil {
			t.Fatal(err)
		}
		commits = append(commits, commit)
		<-begun // The others come too late for the sync that fails, but in time to be written again.
	}
	segment := names(t, dir, "*.log")[0]
	content := readFile(t, segment)
	writeFile(t, segment, []byte(strings.Replace(string(content), "second", "??????", 1)))
	close(release)
	for n, commit := range commits {
		if err := commit.Wait(t.Context()); !errors.Is(err, ErrFailed) {
			t.Errorf("%d: got %v, want ErrFailed", n, err)
		}
	}
	mustAppend(t, q, "after")
	mustClose(t, q)
	q = mustOpen(t, dir, Options{})
	if s := q.Stats(); s.Damaged != 2 { // Where it was, and the hole.
		t.Errorf("%+v", s)
	}
	if got := drain(t, q); !slices.Equal(slices.Compact(got), got) || !containsAll(got, "before", "first", "third", "after") {
		t.Errorf("got %q", got)
	}
}

func containsAll(got []string, want ...string) bool {
	return !slices.ContainsFunc(want, func(entry string) bool { return !slices.Contains(got, entry) })
}

// TestFault080Close has a last sync that fails.
func TestFault080Close(t *testing.T) {
	for name, durability := range map[string]Durability{"sync": Sync, "kernel": Kernel} {
		t.Run(name, func(t *testing.T) {
			files := newFaultyFiles()
			q, err := Open(t.TempDir(), Options{Durability: durability, files: files})
			if err != nil {
				t.Fatal(err)
			}
			files.set(on("sync", "", syscall.EIO))
			if _, err := q.Append([]byte("entry")); err != nil {
				t.Fatal(err)
			}
			err = q.Close()
			if durability == Kernel && !errors.Is(err, ErrFailed) { // In Sync, Append's commit may have had the error.
				t.Errorf("got %v, want ErrFailed", err)
			}
			if _, err := q.Append([]byte("entry")); !errors.Is(err, ErrClosed) {
				t.Errorf("got %v, want ErrClosed", err)
			}
		})
	}
}
