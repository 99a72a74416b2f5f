package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// makePrivateFile makes a file of mode 0600, unless another process does so at the same time: then that one's stays.
func makePrivateFile(path, text string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil { // A command may come before any gateway of this machine.
		return err
	}
	made, err := writePrivateBeside(path, text)
	if err != nil {
		return err
	}
	err = os.Link(made, path)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(made), syncDir(dir))
}

// replacePrivateFile gives a file another content, at once or not at all.
func replacePrivateFile(path, text string) error {
	made, err := writePrivateBeside(path, text)
	if err != nil {
		return err
	}
	return errors.Join(os.Rename(made, path), syncDir(filepath.Dir(path)))
}

// writePrivateBeside writes a file of mode 0600 to the disk, in the directory of another one, and returns its name.
func writePrivateBeside(path, text string) (name string, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*.new")
	if err != nil {
		return "", err
	}
	_, err = file.WriteString(text)
	return file.Name(), errors.Join(err, file.Sync(), file.Close())
}

// syncDir makes the names in a directory last.
func syncDir(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	_ = directory.Sync() // Some systems cannot.
	return directory.Close()
}
