package outbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// fileSystem is what a queue asks of the disk. Its files can be read and written by their owner only.
type fileSystem interface {
	// MakeDir makes a directory and those above it, where they are missing. Their names are durable when it returns.
	MakeDir(dir string) error
	// List returns the names of at most so many files of a directory, in no order; of all if most is not positive.
	List(dir string, most int) ([]string, error)
	// Open takes the flags of [os.OpenFile]. It opens regular files only, and does not wait for anything else.
	Open(path string, flags int) (file, error)
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Lock returns [ErrInUse] while anyone else has the lock, in this process or another. Closing releases it, and so does
	// the end of the process.
	Lock(path string) (io.Closer, error)
}

// file is an open file.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Size() (int64, error)
	// Sync returns when the contents and the size are durable.
	Sync() error
}

// disk is the file system of the operating system.
type disk struct{}

var _ fileSystem = disk{}

func (disk) MakeDir(dir string) error {
	var missing []string
	for above := dir; above != filepath.Dir(above); above = filepath.Dir(above) {
		if _, err := os.Stat(above); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, above)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, made := range missing {
		// A process that may add a name to a directory need not have the right to read it, which a sync needs.
		if err := syncDir(filepath.Dir(made)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

func (disk) List(dir string, most int) (names []string, err error) {
	opened, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	names, err = opened.Readdirnames(most)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

func (disk) Open(path string, flags int) (file, error) {
	opened, err := openRegular(path, flags)
	if err != nil {
		return nil, err
	}
	return diskFile{opened}, nil
}

func (disk) Rename(from, to string) error { return os.Rename(from, to) }

func (disk) Remove(path string) error { return os.Remove(path) }

func (disk) SyncDir(dir string) error { return syncDir(dir) }

func (disk) Lock(path string) (io.Closer, error) { return lock(path) }

type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f diskFile) Sync() error { return syncData(f.File) }

// explain returns err with what to do about it, in one line.
func explain(dir string, err error) error {
	advice := ""
	switch {
	case errors.Is(err, ErrInUse):
		advice = ": stop it, or name another directory"
	case readOnly(err):
		advice = ": the file system is read-only: mount it for writing, or name another directory"
	case noRoom(err):
		advice = ": the disk is full: make room on it"
		if !errors.Is(err, ErrFull) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
	case errors.Is(err, errNotRegular):
		advice = ": move it away, or name another directory"
	case errors.Is(err, syscall.ENOTDIR):
		advice = ": a file is in its place: remove that, or name another directory"
	case errors.Is(err, fs.ErrPermission):
		advice = fmt.Sprintf(": user %d needs to own the directory and all in it, or to have write access", os.Geteuid())
	}
	return fmt.Errorf("outbox %s: %w%s", dir, err, advice)
}
