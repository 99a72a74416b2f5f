package outbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"cdr.dev/slog/v3"
)

// on returns a fault that hits one kind of call, for files whose path contains a text.
func on(call, path string, err error) func(string, string) error {
	return func(c, p string) error {
		if c == call && strings.Contains(p, path) {
			return err
		}
		return nil
	}
}

// TestFault078DiskFull fills the disk in the middle of a write.
func TestFault078DiskFull(t *testing.T) {
	for name, durability := range map[string]Durability{"sync": Sync, "kernel": Kernel} {
		t.Run(name, func(t *testing.T) {
			files, log, dir := newFaultyFiles(), &logLines{}, t.TempDir()
			q := mustOpen(t, dir, Options{Durability: durability, files: files, Logger: slog.Make(log)})
			mustAppend(t, q, "one", "two")
			files.setRoom(frameOverhead + 10)
			for range 3 {
				if _, err := q.Append([]byte("a bit"), []byte("too much")); !errors.Is(err, ErrFull) {
					t.Fatalf("got %v, want ErrFull", err)
				}
			}
			if n := len(readFile(t, names(t, dir, "*.log")[0])); n != segmentHeaderBytes+2*(frameOverhead+3) {
				t.Errorf("the segment has %d bytes: what was written of the last ones is to be cut off", n)
			}
			mustAppend(t, q, "fits")
			if _, err := q.Append([]byte("more")); !errors.Is(err, ErrFull) {
				t.Fatalf("got %v, want ErrFull", err)
			}
			files.setRoom(1 << 20)
			mustAppend(t, q, "again")
			if s := q.Stats(); s.AppendErrors != 4 || s.Pending != 4 || s.Damaged != 0 {
				t.Errorf("%+v", s)
			}
			if n := log.count("cannot be queued"); n != 1 {
				t.Errorf("%d log lines", n)
			}
			mustClose(t, q)
			if n := len(names(t, dir, "*.log")); n != 1 {
				t.Errorf("%d segments: the one that was cut back is good", n)
			}
			checkEntries(t, drain(t, mustOpen(t, dir, Options{})), []string{"one", "two", "fits", "again"})
		})
	}
}

// TestFault078FullWithItself has a disk that is full of what was delivered: room is made without anyone's help.
func TestFault078FullWithItself(t *testing.T) {
	files := newFaultyFiles()
	q := mustOpen(t, t.TempDir(), Options{files: files})
	files.setRoom(10 << 10)
	var want []string
	for {
		entry := strings.Repeat("x", 100) + fmt.Sprint(len(want))
		if _, err := q.Append([]byte(entry)); errors.Is(err, ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		want = append(want, entry)
	}
	checkEntries(t, drain(t, q), want)
	for {
		commit, err := q.Append([]byte("again"))
		if err == nil {
			if err := commit.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, ErrFull) { // Until the syncer has let the old segment go.
			t.Fatal(err)
		}
	}
	checkEntries(t, drain(t, q), []string{"again"})
	for range 3 {
		mustAppend(t, q, "and again")
		checkEntries(t, drain(t, q), []string{"and again"})
	}
	if q.lastNumber != 2 {
		t.Errorf("%d segments: only a full disk is a reason to begin another", q.lastNumber)
	}
}

// TestFault078FullForANewSegment fills the disk where the next segment would begin.
func TestFault078FullForANewSegment(t *testing.T) {
	files, dir := newFaultyFiles(), t.TempDir()
	q := mustOpen(t, dir, Options{files: files, SegmentBytes: 100})
	mustAppend(t, q, strings.Repeat("x", 90))
	for _, room := range []int64{0, segmentHeaderBytes / 2, segmentHeaderBytes, frameOverhead} {
		files.setRoom(room)
		if _, err := q.Append([]byte("next")); !errors.Is(err, ErrFull) {
			t.Fatalf("room for %d: got %v, want ErrFull", room, err)
		}
	}
	files.setRoom(-1)
	mustAppend(t, q, "next")
	checkEntries(t, drain(t, q), []string{strings.Repeat("x", 90), "next"})
}

// TestFault078WriteFails has a disk that fails in the middle of a write, and then refuses to cut it off.
func TestFault078WriteFails(t *testing.T) {
	for _, call := range []string{"write", "write and truncate", "create"} {
		t.Run(call, func(t *testing.T) {
			files, dir := newFaultyFiles(), t.TempDir()
			q := mustOpen(t, dir, Options{files: files, SegmentBytes: 64})
			mustAppend(t, q, "before")
			files.set(func(c, path string) error {
				if strings.Contains(call, c) && strings.HasSuffix(path, ".log") {
					return syscall.EIO
				}
				return nil
			})
			for range 2 {
				_, err := q.Append([]byte("lost, and so long that it needs another segment"))
				if !errors.Is(err, ErrFailed) || errors.Is(err, ErrFull) || !errors.Is(err, syscall.EIO) {
					t.Fatalf("got %v, want ErrFailed", err)
				}
			}
			files.set(nil)
			mustAppend(t, q, "after", "that")
			if s := q.Stats(); s.AppendErrors != 2 || s.Pending != 3 {
				t.Errorf("%+v", s)
			}
			mustClose(t, q)
			checkEntries(t, drain(t, mustOpen(t, dir, Options{})), []string{"before", "after", "that"})
		})
	}
}

// TestFault079Start has directories that cannot be used: each is an error of one line that says what to do.
func TestFault079Start(t *testing.T) {
	for _, test := range []struct {
		name, call, path string
		err              error
		want             string
	}{
		{"read-only, new", "makedir", "", syscall.EROFS, "read-only"},
		{"read-only, old", "lock", "", syscall.EROFS, "read-only"},
		{"disk full", "write", ".log", syscall.ENOSPC, "make room"},
		{"disk full for the cursor", "write", "cursor", syscall.ENOSPC, "make room"},
		{"no inodes", "create", ".log", syscall.ENOSPC, "make room"},
		{"over quota", "create", ".log", syscall.EDQUOT, "make room"},
		{"wrong owner", "makedir", "", syscall.EACCES, "needs to own"},
		{"wrong owner of the lock", "lock", "", syscall.EACCES, "needs to own"},
		{"wrong owner of a segment", "open", ".log", syscall.EACCES, "needs to own"},
		{"wrong owner of the cursor", "create", "cursor", syscall.EPERM, "needs to own"},
		{"failing disk", "list", "", syscall.EIO, "input/output error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			q := mustOpen(t, dir, Options{})
			mustAppend(t, q, "kept")
			mustClose(t, q)

			files := newFaultyFiles()
			files.set(on(test.call, test.path, test.err))
			_, err := Open(dir, Options{files: files})
			if !errors.Is(err, test.err) {
				t.Fatalf("got %v", err)
			}
			if text := err.Error(); !strings.Contains(text, dir) || !strings.Contains(text, test.want) || strings.Contains(text, "\n") {
				t.Errorf("%s", text)
			}
			checkEntries(t, drain(t, mustOpen(t, dir, Options{})), []string{"kept"}) // The lock has been given up.
		})
	}
	if _, err := Open("", Options{}); err == nil {
		t.Error("no directory, and no error")
	}
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	if _, err := Open(file, Options{}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file as directory: %v", err)
	}
}

// TestFault079Modes holds that nobody else can read what clients said.
func TestFault079Modes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	q := mustOpen(t, dir, Options{})
	mustAppend(t, q, "entry")
	stop := deliver(t, q, DeliverOptions{}, func(context.Context, [][]byte) ([]Failure, error) {
		return []Failure{{Err: errors.New("no"), Permanent: true}}, nil
	})
	flush(t, q)
	stop()
	files := 0
	err := filepath.WalkDir(filepath.Dir(dir), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		files++
		return nil
	})
	if err != nil || files != 9 {
		t.Errorf("%d files, %v", files, err)
	}
}

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
			q.mu.Lock()
			if q.segments[0].file != nil || len(q.unsynced) != 0 {
				t.Error("the file of the segment that was given up is still open")
			}
			q.mu.Unlock()
			// What the kernel threw away is gone from the file.
			content := readFile(t, segments[0])
			writeFile(t, segments[0], content[:len(content)-frameOverhead-8])
			mustClose(t, q)
			checkEntries(t, drain(t, mustOpen(t, dir, Options{})), append(want, "entry 10", "entry 11"))
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

// TestFault080Delivered has a sync that fails after all was delivered: there is nothing to write again, nor to complain to
// who waits.
func TestFault080Delivered(t *testing.T) {
	files, dir := newFaultyFiles(), t.TempDir()
	q := mustOpen(t, dir, Options{files: files})
	release, first := make(chan struct{}), q.active.fileName()
	files.set(func(call, path string) error {
		if call == "sync" && filepath.Base(path) == first {
			<-release
			return syscall.EIO
		}
		return nil
	})
	commit, err := q.Append([]byte("entry"))
	if err != nil {
		t.Fatal(err)
	}
	checkEntries(t, drain(t, q), []string{"entry"})
	close(release)
	if err := commit.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	for _, segment := range names(t, dir, "000000000002-*.log") {
		if n := len(readFile(t, segment)); n != segmentHeaderBytes {
			t.Errorf("the new segment has %d bytes", n)
		}
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
	r := q.newReader(place{})
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

// TestFault080DiskGone has a disk on which nothing can be made durable any more: whoever waits is told so, and what can
// be delivered still is.
func TestFault080DiskGone(t *testing.T) {
	for _, call := range []string{"sync", "sync create", "syncdir"} {
		t.Run(call, func(t *testing.T) {
			files, dir := newFaultyFiles(), t.TempDir()
			q := mustOpen(t, dir, Options{files: files})
			if call != "syncdir" {
				mustAppend(t, q, "before")
			}
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
			want := []string{"before", "in the kernel only", "after"}
			if call == "syncdir" {
				want = want[1:]
			}
			checkEntries(t, drain(t, q), want)
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
	release := make(chan struct{})
	files.set(func(call, path string) error {
		if call == "sync" && once.CompareAndSwap(false, true) {
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

// TestFault083DeadWhenFull has a poison entry that there is no room to set aside on the disk: it holds nobody up, and no
// restart loses it.
func TestFault083DeadWhenFull(t *testing.T) {
	for _, call := range []string{"create", "write", "rename", "sync"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files, dir := newFaultyFiles(), t.TempDir()
				q := mustOpen(t, dir, Options{files: files, SegmentBytes: 200})
				mustAppend(t, q, numbered(0, 50)...)
				files.set(on(call, "/dead/", syscall.ENOSPC))
				var r receiver
				refuse := func(ctx context.Context, entries [][]byte) ([]Failure, error) {
					n := slices.IndexFunc(entries, func(entry []byte) bool { return string(entry) == "entry 20" })
					if n < 0 {
						return r.send(ctx, entries)
					}
					_, err := r.send(ctx, slices.Delete(slices.Clone(entries), n, n+1))
					return []Failure{{Index: n, Err: errors.New("poison"), Permanent: true}}, err
				}
				stop := deliver(t, q, DeliverOptions{BatchEntries: 4}, refuse)
				flush(t, q)
				stop()
				checkEntries(t, r.entries(), slices.Delete(numbered(0, 50), 20, 21))
				if s := q.Stats(); s.Dead != 1 || s.Pending != 0 {
					t.Errorf("%+v", s)
				}
				if n := len(names(t, dir, "*.log")); n != 2 {
					t.Errorf("%d segments are left, want the last and the one of the poison", n)
				}
				mustClose(t, q)

				q = mustOpen(t, dir, Options{files: files, SegmentBytes: 200})
				r = receiver{}
				stop = deliver(t, q, DeliverOptions{BatchEntries: 4}, refuse)
				flush(t, q)
				if n := len(names(t, dir, "dead/*.rec")); n != 0 {
					t.Errorf("%d dead files", n)
				}
				files.set(nil)
				synctest.Wait()
				for len(names(t, dir, "dead/*.rec")) == 0 {
					<-nextLook()
				}
				stop()
				if s := q.Stats(); s.Dead != 1 || s.Pending != 0 {
					t.Errorf("%+v", s)
				}
				mustClose(t, q)
				q = mustOpen(t, dir, Options{})
				if s := q.Stats(); s != (Stats{Dead: 1}) {
					t.Errorf("%+v", s)
				}
				mustClose(t, q)
			})
		})
	}
}

// TestFault083DeadTooLarge has poison that there is no room for anywhere: it is sent again until there is.
func TestFault083DeadTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, dir := newFaultyFiles(), t.TempDir()
		q := mustOpen(t, dir, Options{files: files})
		mustAppend(t, q, strings.Repeat("x", maxGraveBytes+1))
		files.set(on("create", "/dead/", syscall.ENOSPC))
		tries := 0
		stop := deliver(t, q, DeliverOptions{}, func(ctx context.Context, entries [][]byte) ([]Failure, error) {
			if tries++; tries == 3 {
				files.set(nil)
			}
			return []Failure{{Err: errors.New("poison"), Permanent: true}}, nil
		})
		flush(t, q)
		stop()
		if n := len(names(t, dir, "dead/*.rec")); n != 1 || tries != 3 || q.Stats().Dead != 1 {
			t.Errorf("%d files after %d tries, %+v", n, tries, q.Stats())
		}
		mustClose(t, q)
	})
}

// TestFault077ReadFails has a disk that does not give a segment back: it is not thrown away.
func TestFault077ReadFails(t *testing.T) {
	files, dir := newFaultyFiles(), t.TempDir()
	q := mustOpen(t, dir, Options{SegmentBytes: 64})
	mustAppend(t, q, numbered(0, 9)...)
	mustClose(t, q)
	bad := filepath.Base(names(t, dir, "*.log")[2])
	files.set(on("read", bad, syscall.EIO))
	q = mustOpen(t, dir, Options{files: files})
	checkEntries(t, drain(t, q), slices.Delete(numbered(0, 9), 4, 6))
	if s := q.Stats(); s.Damaged == 0 {
		t.Errorf("%+v", s)
	}
	if len(names(t, dir, "damaged/"+bad)) != 1 {
		t.Errorf("damaged: %q", names(t, dir, "damaged/*"))
	}
}

// TestOpenFails has a process that is out of file descriptors: the entries wait.
func TestOpenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, dir := newFaultyFiles(), t.TempDir()
		q := mustOpen(t, dir, Options{files: files, Durability: Kernel})
		q.recent.limit = 1
		mustAppend(t, q, numbered(0, 5)...)
		var tries atomic.Int64
		files.set(func(call, path string) error {
			if call == "open" && strings.HasSuffix(path, ".log") && tries.Add(1) < 5 {
				return syscall.EMFILE
			}
			return nil
		})
		checkEntries(t, drain(t, q), numbered(0, 5))
		if tries.Load() != 5 {
			t.Errorf("%d tries", tries.Load())
		}
		mustClose(t, q)
	})
}

// TestCursorCannotBeWritten holds that delivery goes on, and that a restart delivers again.
func TestCursorCannotBeWritten(t *testing.T) {
	files, dir := newFaultyFiles(), t.TempDir()
	q := mustOpen(t, dir, Options{files: files})
	mustAppend(t, q, numbered(0, 5)...)
	files.set(on("write", "cursor", syscall.EROFS))
	checkEntries(t, drain(t, q), numbered(0, 5))
	mustClose(t, q)
	checkEntries(t, drain(t, mustOpen(t, dir, Options{})), numbered(0, 5))
}
