package outbox

import (
	"errors"
	"io"
	"os"
	"syscall"
)

const (
	errorSharingViolation syscall.Errno = 32
	errorWriteProtect     syscall.Errno = 19
	errorHandleDiskFull   syscall.Errno = 39
	errorDiskFull         syscall.Errno = 112
)

// dontWait is for pipes that have a name among files, which this system does not have.
const dontWait = 0

// lock opens a file so that it cannot be opened a second time meanwhile.
func lock(path string) (io.Closer, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	handle, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errorSharingViolation) {
		return nil, ErrInUse
	}
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(handle), path), nil
}

// syncDir has nothing to do: the file system's own journal makes names durable.
func syncDir(string) error { return nil }

func noRoom(err error) bool {
	return errors.Is(err, errorDiskFull) || errors.Is(err, errorHandleDiskFull)
}

func readOnly(err error) bool { return errors.Is(err, errorWriteProtect) }
