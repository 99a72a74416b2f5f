package outbox

import (
	"errors"
	"io/fs"
	"os"
)

// errNotRegular says that something else than a regular file has the name of a file of the queue: a directory, a named
// pipe, a device, a socket. To open such a thing can block for ever, or do something to a device.
var errNotRegular = errors.New("something else than a file is in its place")

// openRegular is [os.OpenFile] for regular files, also at the end of a link. It opens nothing else, and does not wait
// where the file is replaced by something else meanwhile.
func openRegular(path string, flags int) (*os.File, error) {
	notRegular := &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, notRegular
	}
	opened, err := os.OpenFile(path, flags|dontWait, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := opened.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular
	}
	if err != nil {
		_ = opened.Close()
		return nil, err
	}
	return opened, nil
}
