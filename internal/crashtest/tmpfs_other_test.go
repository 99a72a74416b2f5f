//go:build !linux

package crashtest

import (
	"errors"
	"testing"
)

// diskBytes is how large a small disk is.
const diskBytes = 1 << 20

// smallDisk returns a directory that a limit makes small.
func smallDisk(t *testing.T) (dir string, isReal bool) {
	return t.TempDir(), false
}

// freeBytes is asked of real disks only.
func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
