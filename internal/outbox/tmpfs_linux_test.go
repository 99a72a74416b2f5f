package outbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// smallDisk returns a directory on a disk of 1 MiB, and its file system. Where this process may not mount one, the disk
// is a fake one.
func smallDisk(t *testing.T) (string, fileSystem) {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("cannot mount: %v", err)
		files := newFaultyFiles()
		files.setRoom(1 << 20)
		return dir, files
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir, disk{}
}

// filler appends entries of 3,000 bytes.
type filler struct {
	n int // How many it has appended.
}

// fill appends until the queue is full, but so many at least: until then, the old segments are still being removed.
func (f *filler) fill(t *testing.T, add func(...[]byte) (Commit, error), least int) (entries []string) {
	t.Helper()
	for {
		entry := strings.Repeat(string(rune('a'+f.n%26)), 3000)
		_, err := add([]byte(entry))
		switch {
		case err == nil:
			entries = append(entries, entry)
			f.n++
		case !errors.Is(err, ErrFull):
			t.Fatal(err)
		case len(entries) >= least:
			return entries
		}
	}
}

// TestFault078SmallDisk fills a disk, with entries and with something else, again and again.
func TestFault078SmallDisk(t *testing.T) {
	mount, files := smallDisk(t)
	dir := filepath.Join(mount, "outbox")
	options := Options{files: files, SegmentBytes: 64 << 10}
	q := mustOpen(t, dir, options)
	var f filler
	for range 3 {
		entries := f.fill(t, q.Append, 150)
		checkEntries(t, drain(t, q), entries)
	}
	mustClose(t, q) // Nothing is still being removed now.
	q = mustOpen(t, dir, options)

	other, err := files.Open(filepath.Join(mount, "other"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := other.WriteAt(make([]byte, 1<<20), 0); !noRoom(err) {
		t.Fatalf("%d, %v", n, err)
	}
	entries := f.fill(t, q.Append, 0) // There may be room in the last page.
	if _, err := Open(filepath.Join(mount, "second"), Options{files: files}); !noRoom(err) || !errors.Is(err, ErrFull) {
		t.Errorf("079 a start on a full disk: %v", err)
	}
	if err := errors.Join(other.Truncate(0), other.Close()); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, q, "room again")
	if s := q.Stats(); s.Pending != len(entries)+1 || s.Damaged != 0 || s.AppendErrors != 1 {
		t.Errorf("%+v", s)
	}
	mustClose(t, q)
	q = mustOpen(t, dir, options)
	checkEntries(t, drain(t, q), append(entries, "room again"))
	mustClose(t, q)
}

// TestFault078SmallDiskReserved fills a disk, ends what has begun on it, and has it emptied, again and again: with
// segments that are small and with one that is never large enough to be left, and with the process ending in between.
func TestFault078SmallDiskReserved(t *testing.T) {
	for _, segmentBytes := range []int64{64 << 10, 0} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("segments of %d, restart %v", segmentBytes, restart), func(t *testing.T) {
				mount, files := smallDisk(t)
				dir, l := filepath.Join(mount, "outbox"), &ledger{}
				options := l.options(Options{files: files, SegmentBytes: segmentBytes})
				q := mustOpen(t, dir, options)
				var f filler
				for range 4 {
					entries := f.fill(t, q.Append, 20)
					reserved := f.fill(t, q.AppendReserved, 20)
					if restart {
						mustClose(t, q)
						q = mustOpen(t, dir, options)
					}
					if again := f.fill(t, q.Append, 0); len(again) > 0 && !restart {
						t.Errorf("%d entries found room before the reserve was whole", len(again))
					} else {
						reserved = append(reserved, again...)
					}
					checkEntries(t, drain(t, q), append(entries, reserved...))
				}
				f.fill(t, q.Append, 20) // It works to the end.
				mustClose(t, q)
			})
		}
	}
}

// TestFault078SmallDiskHeads has nothing but ends, and heads beside them, on a disk that is full each time: what is
// left of the reserve is enough to begin another segment, and so to let the old one go.
func TestFault078SmallDiskHeads(t *testing.T) {
	mount, files := smallDisk(t)
	head := strings.Repeat("h", 60<<10)
	var told []string
	options := Options{
		files: files,
		Head:  func() []byte { return []byte(head) },
		Observe: func(kind Kind, entry []byte) {
			if kind == Head {
				told = append(told, string(entry))
			}
		},
	}
	q := mustOpen(t, filepath.Join(mount, "outbox"), options)
	var f filler
	for range 5 {
		entries := f.fill(t, q.AppendReserved, 20)
		checkEntries(t, drain(t, q), entries)
	}
	f.fill(t, q.Append, 20)
	mustClose(t, q)
	mustClose(t, mustOpen(t, filepath.Join(mount, "outbox"), options))
	if !slices.Equal(told, []string{head}) {
		t.Errorf("%d heads", len(told))
	}
}
