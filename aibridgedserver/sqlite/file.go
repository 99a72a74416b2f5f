package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// makeFile makes the file before the engine does, since the engine would make it readable for everyone. The engine
// gives its own two files beside it the same mode. When makeFile returns, the names of the file and its directory are
// on the disk; the engine syncs the names of its own two files.
//
// It does not open a file that already exists: closing it would release the locks of all connections of this process.
func makeFile(path string) error {
	if err := makeDirectory(filepath.Dir(path)); err != nil {
		return fmt.Errorf("make its directory: %w; make the directory yourself or choose another path", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err == nil:
		err = errors.Join(file.Close(), syncDirectory(filepath.Dir(path)))
	}
	if err != nil {
		return fmt.Errorf("%w; let this user write to the file and its directory, or choose another path", err)
	}
	return nil
}

// makeDirectory makes a directory and the missing ones above it, and syncs the names of all that it made.
func makeDirectory(dir string) error {
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
		if err := syncDirectory(filepath.Dir(made)); err != nil {
			return err
		}
	}
	return nil
}

// syncDirectory syncs the names in a directory. It does nothing if this user may not read the directory, or the system
// does not allow to sync one.
func syncDirectory(dir string) error {
	opened, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer opened.Close()
	if err := opened.Sync(); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
