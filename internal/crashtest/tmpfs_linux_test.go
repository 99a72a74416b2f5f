package crashtest

import (
	"os"
	"syscall"
	"testing"
)

// diskBytes is the size of a small disk.
const diskBytes = 1 << 20

// smallDisk returns a directory on a small disk of its own. Where this process may not mount one, it returns an
// ordinary directory and isReal is false. If the test fails, the files are kept elsewhere.
func smallDisk(t *testing.T) (dir string, isReal bool) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("cannot mount a disk, which a limit replaces: %v", err)
		return dir, false
	}
	t.Cleanup(func() {
		if t.Failed() {
			keepFiles(t, dir)
		}
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir, true
}

// freeBytes returns how much space a disk has left.
func freeBytes(dir string) (int64, error) {
	var disk syscall.Statfs_t
	err := syscall.Statfs(dir, &disk)
	return int64(disk.Bavail) * disk.Bsize, err
}

func keepFiles(t *testing.T, dir string) {
	kept, err := os.MkdirTemp("", "crashtest-disk-")
	if err == nil {
		err = os.CopyFS(kept, os.DirFS(dir))
	}
	t.Logf("what was on the disk is in %s; %v", kept, err)
}
