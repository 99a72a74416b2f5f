package outbox

import (
	"errors"
	"os"
	"path/filepath"
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

// TestFault078SmallDisk fills a disk, with entries and with something else, again and again.
func TestFault078SmallDisk(t *testing.T) {
	mount, files := smallDisk(t)
	dir := filepath.Join(mount, "outbox")
	options := Options{files: files, SegmentBytes: 64 << 10}
	q := mustOpen(t, dir, options)
	want := 0
	fill := func(least int) (entries []string) {
		for {
			entry := strings.Repeat(string(rune('a'+want%26)), 3000)
			_, err := q.Append([]byte(entry))
			switch {
			case err == nil:
				entries = append(entries, entry)
				want++
			case !errors.Is(err, ErrFull):
				t.Fatal(err)
			case len(entries) >= least: // Until then, the syncer has not let go of what it had open.
				return entries
			}
		}
	}
	for range 3 {
		entries := fill(250)
		checkEntries(t, drain(t, q), entries)
	}
	mustClose(t, q) // Nothing of it is on its way out now.
	q = mustOpen(t, dir, options)

	other, err := files.Open(filepath.Join(mount, "other"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := other.WriteAt(make([]byte, 1<<20), 0); !noRoom(err) {
		t.Fatalf("%d, %v", n, err)
	}
	entries := fill(0) // There may be room in the last page.
	if _, err := Open(filepath.Join(mount, "second"), Options{files: files}); !noRoom(err) {
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
