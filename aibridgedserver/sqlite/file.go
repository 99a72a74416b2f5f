package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// makeFile makes the file before the engine does: the engine would make it readable for everyone. The engine's own two
// files beside it take over its mode. When it returns, the names of the file and its directory are on the disk; the
// engine sees to the names of its own two.
//
// A file that is there already is not opened: at its close, the system would take the locks from all connections of this
// process.
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

// makeDirectory makes a directory and those above it that are missing, and syncs the names of all that it made.
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

// syncDirectory syncs the names in a directory. Where this user may add names but not read them, or the system syncs no
// directories, it does nothing.
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
