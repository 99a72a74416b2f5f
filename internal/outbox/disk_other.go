//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package outbox

import (
	"errors"
	"fmt"
	"io"
)

// lock fails, since there are no file locks here: without a lock, two processes could write to the same directory.
func lock(path string) (io.Closer, error) {
	return nil, fmt.Errorf("lock %s: %w on this operating system: use Memory", path, errors.ErrUnsupported)
}

// dontWait is for systems whose pipes have names among files.
const dontWait = 0

func syncDir(string) error { return nil }

func noRoom(error) bool { return false }

func readOnly(error) bool { return false }
