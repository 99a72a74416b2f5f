package outbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
)

// checkReady checks that a queue is ready, where want is empty, or says why not, in one line without its path.
func checkReady(t *testing.T, q *Queue, want string) {
	t.Helper()
	err := q.Ready()
	switch {
	case want == "" && err != nil:
		t.Errorf("not ready: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("ready: %v, want %q", err, want)
	case err != nil && (strings.Contains(err.Error(), q.dir) && q.dir != "" || strings.Contains(err.Error(), "\n")):
		t.Errorf("not one line without a path: %v", err)
	}
}

// TestReadyFill has a queue that fills up: it is not ready once it refuses, or has been more than half full for a
// minute, and ready again once that is delivered.
func TestReadyFill(t *testing.T) {
	for name, durability := range map[string]Durability{"sync": Sync, "memory": Memory} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				q := mustOpen(t, dir, Options{Durability: durability, files: quick{}, MaxBytes: 100 << 10, ReserveBytes: 10 << 10})
				entry := strings.Repeat("x", 8<<10)
				checkReady(t, q, "")
				for range 7 {
					mustAppend(t, q, entry)
				}
				time.Sleep(patience - time.Second)
				checkReady(t, q, "")
				time.Sleep(time.Second)
				checkReady(t, q, "more than half full for 1m")
				drain(t, q)
				checkReady(t, q, "")
				for range 11 {
					mustAppend(t, q, entry)
				}
				checkReady(t, q, "") // There is room for a small entry.
				if _, err := q.Append([]byte(entry)); !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				checkReady(t, q, "queue is full")
				drain(t, q)
				checkReady(t, q, "")
				mustClose(t, q)
				checkReady(t, q, "closed")
			})
		})
	}
}

// TestReadyDisk has disks that take nothing: the queue says so though nobody appends, and is ready once the disk is
// well.
func TestReadyDisk(t *testing.T) {
	for _, test := range []struct {
		name, want string
		fault      func(*faultyFiles)
	}{
		{"full", "no room", func(f *faultyFiles) { f.setRoom(0) }},
		{"read-only", "read-only", func(f *faultyFiles) { f.set(on("create", "", syscall.EROFS)) }},
		{"fails", "input/output error", func(f *faultyFiles) { f.set(on("write", "", syscall.EIO)) }},
		{"no right", "permission denied", func(f *faultyFiles) { f.set(on("create", "", syscall.EACCES)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := newFaultyFiles()
			q := mustOpen(t, t.TempDir(), Options{files: files})
			test.fault(files)
			checkReady(t, q, test.want)
			files.set(nil)
			files.setRoom(-1)
			checkReady(t, q, "")
		})
	}
	// The room in reserve has been used, and comes back without an Append.
	files := newFaultyFiles()
	q := mustOpen(t, t.TempDir(), Options{files: files, ReserveBytes: 256 << 10})
	files.setRoom(0)
	for range 10 {
		mustAppendReserved(t, q, strings.Repeat("x", 10<<10))
	}
	files.setRoom(pieceBytes)
	checkReady(t, q, "reserve")
	files.setRoom(-1)
	checkReady(t, q, "")
	mustAppend(t, q, "again")
}

// TestReadyAfterSync has a disk that fails to sync: the queue is not ready until a sync succeeds.
func TestReadyAfterSync(t *testing.T) {
	files := newFaultyFiles()
	q := mustOpen(t, t.TempDir(), Options{files: files})
	files.set(on("sync", "", syscall.EIO))
	commit, err := q.Append([]byte("entry"))
	if err == nil {
		err = commit.Wait(t.Context())
	}
	if !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	checkReady(t, q, "disk failed")
	files.set(nil)
	checkReady(t, q, "")
}

// TestReadyDirectoryGone removes the directory of a queue.
func TestReadyDirectoryGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	q := mustOpen(t, dir, Options{})
	must(t, os.RemoveAll(dir))
	checkReady(t, q, "the directory of the queue is gone")
}

// TestFault077TakenAway removes, or renames, the segment that is written to while the queue is open: that is counted and
// named, and what comes next goes into a file that has a name.
func TestFault077TakenAway(t *testing.T) {
	for _, durability := range []Durability{Sync, Kernel} {
		dir, log := t.TempDir(), &logLines{}
		synctest.Test(t, func(t *testing.T) {
			q := mustOpen(t, dir, Options{Durability: durability, files: quick{}, Logger: slog.Make(log)})
			mustAppend(t, q, "taken away")
			time.Sleep(time.Second) // It is synced, in Kernel too.
			segment := names(t, dir, "*.log")[0]
			must(t, os.Rename(segment, segment+".bak"))
			var r receiver
			stop := deliver(t, q, DeliverOptions{}, r.send)
			time.Sleep(3 * lookInterval)
			synctest.Wait()
			if s := q.Stats(); s.Damaged != 1 || log.count(filepath.Base(segment)) != 1 {
				t.Errorf("%+v, logged %q", s, log.lines)
			}
			stop()
			mustAppend(t, q, "kept")
			mustClose(t, q)
		})
		q := mustOpen(t, dir, Options{files: quick{}})
		checkEntries(t, drain(t, q), []string{"kept"})
		mustClose(t, q)
	}
}
