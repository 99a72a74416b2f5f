package outbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func reserveSize(t *testing.T, dir string) int {
	t.Helper()
	return len(readFile(t, filepath.Join(dir, "reserve")))
}

// checkNoise checks that the reserve takes room in whatever way a file system stores it.
func checkNoise(t *testing.T, dir string, size int) {
	t.Helper()
	content := string(readFile(t, filepath.Join(dir, "reserve")))
	if len(content) != size || strings.Contains(content, strings.Repeat("\x00", 16)) {
		t.Errorf("%d bytes in reserve, want %d, none of them in a row of zeros", len(content), size)
	}
}

// TestReserveAtStart checks how much room is taken at a start, by how much there is.
func TestReserveAtStart(t *testing.T) {
	const others = segmentHeaderBytes + cursorSlotBytes + cursorBytes + cursorSealBytes + inventorySlotBytes + pageBytes // What a start needs besides.
	for _, test := range []struct {
		name         string
		wanted, room int64
		want         int // Zero: the start fails.
	}{
		{"enough", 0, -1, defaultReserveBytes},
		{"exactly", 0, others + 1<<20, 1 << 20},
		{"half", 0, others + 1<<20 - 1, 512 << 10},
		{"a quarter", 0, others + 300<<10, 256 << 10},
		{"least", 0, others + 64<<10, 64 << 10},
		{"too little", 0, others + 64<<10 - 1, 0},
		{"nothing", 0, 0, 0},
		{"half is less than the least", 100 << 10, others + 70<<10, 64 << 10},
		{"named small", 1 << 10, others + 1<<10, 1 << 10},
		{"named small, too little", 1 << 10, others + 1<<10 - 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			files, dir := newFaultyFiles(), t.TempDir()
			files.setRoom(test.room)
			q, err := Open(dir, Options{files: files, ReserveBytes: test.wanted})
			if test.want == 0 {
				text := fmt.Sprint(err)
				if !errors.Is(err, ErrFull) || !strings.Contains(text, "make room") || strings.Contains(text, "\n") {
					t.Fatalf("got %v, want ErrFull", err)
				}
				files.setRoom(-1)
				q = mustOpen(t, dir, Options{files: files}) // It has removed everything.
				mustAppend(t, q, "entry")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkNoise(t, dir, test.want)
			mustClose(t, q)
			if n := reserveSize(t, dir); n != test.want {
				t.Errorf("%d bytes are left for the next life, want %d", n, test.want)
			}
		})
	}
}

// TestReserveFollowsOptions has a later life that wants more, or less.
func TestReserveFollowsOptions(t *testing.T) {
	dir := t.TempDir()
	for _, wanted := range []int64{200 << 10, 300 << 10, 100 << 10} {
		mustClose(t, mustOpen(t, dir, Options{ReserveBytes: wanted}))
		if n := reserveSize(t, dir); int64(n) != wanted {
			t.Errorf("%d bytes, want %d", n, wanted)
		}
	}
	// After the machine stopped, the size may be there and the bytes not.
	if err := errors.Join(os.Truncate(filepath.Join(dir, "reserve"), 0), os.Truncate(filepath.Join(dir, "reserve"), 1<<20)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, dir, Options{}))
	checkNoise(t, dir, 1<<20)
}

// full returns a queue on a disk without any room.
func full(t *testing.T, files *faultyFiles, options Options) (q *Queue, dir string) {
	t.Helper()
	dir, options.files = t.TempDir(), files
	q = mustOpen(t, dir, options)
	files.setRoom(0)
	if _, err := q.Append([]byte("a start")); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	return q, dir
}

// TestFault078Reserve has a disk that somebody else has filled: entries that end something find room, entries that
// start something do not, and when there is room again the reserve is made whole first.
func TestFault078Reserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newFaultyFiles()
		q, dir := full(t, files, Options{ReserveBytes: 256 << 10})
		large := strings.Repeat("x", 50<<10)
		for range 3 {
			mustAppendReserved(t, q, large)
		}
		if n := reserveSize(t, dir); n != 64<<10 {
			t.Errorf("%d bytes are left in reserve, want those for heads", n)
		}
		for range 3 {
			if _, err := q.AppendReserved([]byte(large)); !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("got %v, want ErrFull", err)
			}
		}
		mustAppendReserved(t, q, "small")
		refuse := func(why string) {
			t.Helper()
			if _, err := q.Append([]byte("a start")); !errors.Is(err, ErrFull) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: got %v, want ErrFull", why, err)
			}
		}
		refuse("the reserve has been used")
		files.setRoom(100 << 10)
		refuse("a moment after the last try")
		<-time.After(refillInterval)
		refuse("there is not enough room")
		if n := reserveSize(t, dir); n < 164<<10 {
			t.Errorf("%d bytes: what there was room for is to be taken", n)
		}
		files.setRoom(1 << 20)
		tries := files.count("write")
		for range 100 {
			refuse("a moment after the last try")
		}
		if n := files.count("write") - tries; n != 0 {
			t.Errorf("%d writes in vain", n)
		}
		<-time.After(refillInterval)
		mustAppend(t, q, "a start")
		if n := reserveSize(t, dir); n != 256<<10 {
			t.Errorf("%d bytes in reserve, want all", n)
		}
		files.setRoom(0)
		mustAppendReserved(t, q, large)
		refuse("a moment after the last try, when it was made whole")
		if s := q.Stats(); s.Pending != 6 || s.AppendErrors != 1+3+3+100+1 || s.Damaged != 0 {
			t.Errorf("%+v", s)
		}
		checkEntries(t, drain(t, q), []string{large, large, large, "small", "a start", large})
		mustClose(t, q)
	})
}

// TestFault078ReserveAtOnce checks that the reserve is made whole as soon as a segment has gone.
func TestFault078ReserveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, dir := newFaultyFiles(), t.TempDir()
		q := mustOpen(t, dir, Options{files: files, ReserveBytes: 256 << 10})
		mustAppend(t, q, "an earlier start")
		files.setRoom(0)
		large := strings.Repeat("x", 60<<10)
		mustAppendReserved(t, q, large)
		checkEntries(t, drain(t, q), []string{"an earlier start", large})
		synctest.Wait() // For the syncer, which removes the old segment.
		mustAppend(t, q, "a start")
		if n := reserveSize(t, dir); n != 256<<10 {
			t.Errorf("%d bytes in reserve, want all", n)
		}
		mustClose(t, q)
	})
}

// TestFault078ReserveFirst checks that the reserve is made whole as soon as all is delivered, and that no segment is left
// for it where there is room without that.
func TestFault078ReserveFirst(t *testing.T) {
	files := newFaultyFiles()
	q, dir := full(t, files, Options{ReserveBytes: 256 << 10})
	for range 3 {
		files.setRoom(0)
		mustAppendReserved(t, q, "an end")
		files.setRoom(-1)
		drain(t, q)
		if n := reserveSize(t, dir); n != 256<<10 || q.lastNumber != 1 {
			t.Errorf("%d bytes in reserve and %d segments", n, q.lastNumber)
		}
		q.reserve.tried = time.Time{} // It is long ago.
	}
}

// TestFault078ReserveGrows has a start on a disk with little room, and more of it later.
func TestFault078ReserveGrows(t *testing.T) {
	files, dir := newFaultyFiles(), t.TempDir()
	files.setRoom(100 << 10)
	q := mustOpen(t, dir, Options{files: files, SegmentBytes: 1})
	for _, test := range []struct {
		room int64
		want int
	}{{0, 64 << 10}, {200 << 10, 256 << 10}, {100 << 10, 256 << 10}, {-1, 1 << 20}} {
		files.setRoom(test.room + 1<<10)
		if test.room < 0 {
			files.setRoom(-1)
		}
		mustAppend(t, q, "one", "two")
		drain(t, q) // The segment of the first entry is removed.
		mustAppend(t, q, "three")
		if n := reserveSize(t, dir); n != test.want {
			t.Errorf("room for %d more: %d bytes in reserve, want %d", test.room, n, test.want)
		}
		drain(t, q)
	}
}

// TestReserveOnFailingDisk checks that only a full disk is a reason to use the reserve.
func TestReserveOnFailingDisk(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.EROFS} {
		files, dir := newFaultyFiles(), t.TempDir()
		q := mustOpen(t, dir, Options{files: files, ReserveBytes: 128 << 10})
		files.set(on("write", ".log", cause))
		for _, add := range []func(...[]byte) (Commit, error){q.Append, q.AppendReserved} {
			if _, err := add([]byte("entry")); !errors.Is(err, ErrFailed) || !errors.Is(err, cause) {
				t.Errorf("got %v, want ErrFailed", err)
			}
		}
		if n := reserveSize(t, dir); n != 128<<10 {
			t.Errorf("%d bytes in reserve", n)
		}
		files.set(nil)
		mustAppend(t, q, "entry")
	}
}

// TestReserveCannotBeRefilled has a disk that fails when the reserve is to be made whole: that does not count as a full
// disk.
func TestReserveCannotBeRefilled(t *testing.T) {
	for _, call := range []string{"write", "sync"} {
		synctest.Test(t, func(t *testing.T) {
			files := newFaultyFiles()
			q, _ := full(t, files, Options{ReserveBytes: 128 << 10})
			mustAppendReserved(t, q, "an end")
			files.setRoom(-1)
			files.set(on(call, "reserve", syscall.EIO))
			for range 2 {
				<-time.After(refillInterval)
				if _, err := q.Append([]byte("a start")); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
					t.Errorf("%s fails: got %v, want ErrFailed", call, err)
				}
			}
			mustAppendReserved(t, q, "another end")
			files.set(nil)
			<-time.After(refillInterval)
			mustAppend(t, q, "a start")
			mustClose(t, q)
		})
	}
}

// TestReserveCannotBeGivenUp has a disk that is full and does not take the reserve back.
func TestReserveCannotBeGivenUp(t *testing.T) {
	files := newFaultyFiles()
	q, dir := full(t, files, Options{})
	files.set(on("truncate", "reserve", syscall.EIO))
	if _, err := q.AppendReserved([]byte("an end")); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	files.set(nil)
	mustAppendReserved(t, q, "an end")
	if n := reserveSize(t, dir); n != 1<<20-pieceBytes {
		t.Errorf("%d bytes in reserve", n)
	}
}

// TestFault079StartOnFullDisk starts on a disk that the queue itself has filled: the reserve of the earlier life gives
// room for what a start needs.
func TestFault079StartOnFullDisk(t *testing.T) {
	files := newFaultyFiles()
	q, dir := full(t, files, Options{ReserveBytes: 512 << 10})
	mustAppendReserved(t, q, "an end")
	mustClose(t, q)
	q = mustOpen(t, dir, Options{files: files, ReserveBytes: 512 << 10})
	if n := reserveSize(t, dir); n != 256<<10 {
		t.Errorf("%d bytes in reserve, want half", n)
	}
	mustAppendReserved(t, q, "another end")
	checkEntries(t, drain(t, q), []string{"an end", "another end"})
	mustClose(t, q)

	if err := os.Truncate(filepath.Join(dir, "reserve"), 0); err != nil {
		t.Fatal(err)
	}
	files.setRoom(0)
	if _, err := Open(dir, Options{files: files}); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
}
