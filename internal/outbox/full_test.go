package outbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
)

// TestFault078DiskFull fills the disk in the middle of a write.
func TestFault078DiskFull(t *testing.T) {
	for name, durability := range map[string]Durability{"sync": Sync, "kernel": Kernel} {
		t.Run(name, func(t *testing.T) {
			files, log, dir := newFaultyFiles(), &logLines{}, t.TempDir()
			q := mustOpen(t, dir, Options{Durability: durability, files: files, Logger: slog.Make(log)})
			q.active.ahead.off = true // Else there is room in what is written ahead.
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

// TestFault078FullWithItself has a disk that is full of what was delivered: the queue makes room by itself.
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
		if !errors.Is(err, ErrFull) { // Until the syncer has removed the old segment.
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

// TestFault078FullBehindANewSegment has a disk with room for the next segment and not for what was to be in it: that
// segment is made durable all the same, and the one before is removed.
func TestFault078FullBehindANewSegment(t *testing.T) {
	for name, durability := range map[string]Durability{"sync": Sync, "kernel": Kernel} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files := newFaultyFiles()
				q := mustOpen(t, t.TempDir(), Options{Durability: durability, files: files, SegmentBytes: 100})
				mustAppend(t, q, strings.Repeat("x", 90))
				<-time.After(kernelInterval)
				files.setRoom(segmentHeaderBytes + frameOverhead)
				if _, err := q.Append([]byte("next")); !errors.Is(err, ErrFull) {
					t.Fatalf("got %v, want ErrFull", err)
				}
				checkEntries(t, drain(t, q), []string{strings.Repeat("x", 90)})
				<-time.After(kernelInterval)
				synctest.Wait()
				mustAppend(t, q, "next")
				checkEntries(t, drain(t, q), []string{"next"})
				mustClose(t, q)
			})
		})
	}
}

// TestFault078WriteFails has a disk that fails in the middle of a write, and then refuses to cut it off.
func TestFault078WriteFails(t *testing.T) {
	for _, test := range []struct {
		calls        string
		err, want    error
		segmentBytes int64
	}{
		{"write", syscall.EIO, ErrFailed, 0},
		{"write truncate", syscall.EIO, ErrFailed, 0},
		{"write truncate", syscall.ENOSPC, ErrFull, 0},
		{"create", syscall.EIO, ErrFailed, 64},
	} {
		t.Run(fmt.Sprint(test.calls, test.err), func(t *testing.T) {
			files, dir := newFaultyFiles(), t.TempDir()
			q := mustOpen(t, dir, Options{files: files, SegmentBytes: test.segmentBytes})
			mustAppend(t, q, "before")
			files.set(func(call, path string) error {
				if slices.Contains(strings.Fields(test.calls), call) && strings.HasSuffix(path, ".log") {
					return test.err
				}
				return nil
			})
			for range 2 {
				_, err := q.Append([]byte("lost, and so long that it needs another segment"))
				if !errors.Is(err, test.want) || !errors.Is(err, test.err) || strings.Contains(err.Error(), "\n") {
					t.Fatalf("got %v, want %v", err, test.want)
				}
			}
			files.set(nil)
			mustAppend(t, q, "after", "that")
			if s := q.Stats(); s.AppendErrors != 2 || s.Pending != 3 {
				t.Errorf("%+v", s)
			}
			if n := len(names(t, dir, "*.log")); n != 2 {
				t.Errorf("%d segments: the first one is not to be trusted any more", n)
			}
			mustClose(t, q)
			checkEntries(t, drain(t, mustOpen(t, dir, Options{})), []string{"before", "after", "that"})
		})
	}
}

// TestLargeEntriesLeaveRoom fills a queue with large entries: beyond half of it only small ones are taken.
func TestLargeEntriesLeaveRoom(t *testing.T) {
	for name, durability := range map[string]Durability{"sync": Sync, "memory": Memory} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if durability == Memory {
				dir = ""
			}
			q := mustOpen(t, dir, Options{Durability: durability, MaxBytes: 16 << 20})
			large := make([]byte, 2<<20)
			taken := 0
			for ; taken < 16; taken++ {
				if _, err := q.Append(large); errors.Is(err, ErrFull) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if taken < 3 || taken > 5 {
				t.Errorf("%d large entries of 2 MiB fit into 16 MiB", taken)
			}
			for range 100 {
				mustAppend(t, q, strings.Repeat("x", 10<<10))
			}
			if _, err := q.AppendReserved(large); err != nil {
				t.Errorf("an entry that ends something: %v", err)
			}
		})
	}
}
