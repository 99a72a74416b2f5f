//go:build !linux

package crashtest

import (
	"errors"
	"testing"
)

// diskBytes is the size of a small disk.
const diskBytes = 1 << 20

// smallDisk returns an ordinary directory, whose size the test must limit itself.
func smallDisk(t *testing.T) (dir string, isReal bool) {
	return t.TempDir(), false
}

// freeBytes works for real disks only.
func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
