package outbox

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
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

// TestFault083DeadWhenFull has a poison entry that there is no room to set aside on the disk: it holds up no other
// entry, and no restart loses it.
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

// TestFault083DeadNameNotDurable has a poison entry whose file is there though its name could not be made durable: it is
// one dead entry, before and after.
func TestFault083DeadNameNotDurable(t *testing.T) {
	files, dir := newFaultyFiles(), t.TempDir()
	q := mustOpen(t, dir, Options{files: files})
	mustAppend(t, q, "poison")
	files.set(on("syncdir", "/dead", syscall.ENOSPC))
	stop := deliver(t, q, DeliverOptions{}, refuseAll)
	flush(t, q)
	stop()
	for _, fault := range []func(string, string) error{nil, on("syncdir", "/dead", syscall.ENOSPC), nil} {
		if s := q.Stats(); s != (Stats{Dead: 1}) {
			t.Errorf("%+v", s)
		}
		files.set(fault)
		q.lookAround(t.Context())
	}
	if s := q.Stats(); s != (Stats{Dead: 1}) || len(names(t, dir, "dead/*.rec")) != 1 {
		t.Errorf("%+v", s)
	}
}

// TestFault083DeadOnFullDisk has a disk that is full of one segment, from which all has been delivered but for a poison
// entry: it is set aside, and there is room again.
func TestFault083DeadOnFullDisk(t *testing.T) {
	for _, test := range []struct {
		poison, reserve int
		used            bool
	}{{10, 256 << 10, false}, {10, 256 << 10, true}, {100 << 10, 256 << 10, false}, {60 << 10, 256 << 10, true}, {200 << 10, 1 << 20, true}} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files, dir := newFaultyFiles(), t.TempDir()
				q := mustOpen(t, dir, Options{files: files, ReserveBytes: int64(test.reserve)})
				mustAppend(t, q, strings.Repeat("p", test.poison), strings.Repeat("x", 1<<10)) // The note in dead/ needs room, too.
				files.setRoom(0)
				for test.used && q.reserve.size > q.reserve.forHeads() {
					mustAppendReserved(t, q, strings.Repeat("x", 64<<10))
				}
				for test.used { // To the last byte.
					if _, err := q.AppendReserved([]byte("end")); err != nil {
						break
					}
				}
				stop := deliver(t, q, DeliverOptions{}, func(_ context.Context, entries [][]byte) ([]Failure, error) {
					if entries[0][0] == 'p' {
						return []Failure{{Err: errors.New("poison"), Permanent: true}}, nil
					}
					return nil, nil
				})
				flush(t, q)
				<-nextLook()
				synctest.Wait()
				mustAppend(t, q, "a start")
				stop()
				if s := q.Stats(); s.Dead != 1 || len(names(t, dir, "dead/*.rec")) != 1 {
					t.Errorf("%+v", s)
				}
				if n := reserveSize(t, dir); n != test.reserve {
					t.Errorf("%d bytes in reserve", n)
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

// TestFault077ReadFails has a disk from which a segment cannot be read: the segment is not removed.
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

// TestCursorCannotBeWritten checks that delivery goes on, and that a restart delivers again.
func TestCursorCannotBeWritten(t *testing.T) {
	files, dir := newFaultyFiles(), t.TempDir()
	q := mustOpen(t, dir, Options{files: files})
	mustAppend(t, q, numbered(0, 5)...)
	files.set(on("write", "cursor", syscall.EROFS))
	checkEntries(t, drain(t, q), numbered(0, 5))
	mustClose(t, q)
	checkEntries(t, drain(t, mustOpen(t, dir, Options{})), numbered(0, 5))
}
