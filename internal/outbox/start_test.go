package outbox

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFault079Start has directories that cannot be used: each is an error of one line that says what to do.
func TestFault079Start(t *testing.T) {
	for _, test := range []struct {
		name, call, path string
		err              error
		want             string
	}{
		{"read-only, new", "makedir", "", syscall.EROFS, "read-only"},
		{"read-only, old", "lock", "", syscall.EROFS, "read-only"},
		{"disk full", "write", ".log", syscall.ENOSPC, "make room"},
		{"disk full for the cursor", "write", "cursor", syscall.ENOSPC, "make room"},
		{"no inodes", "create", ".log", syscall.ENOSPC, "make room"},
		{"over quota", "create", ".log", syscall.EDQUOT, "make room"},
		{"wrong owner", "makedir", "", syscall.EACCES, "needs to own"},
		{"wrong owner of the lock", "lock", "", syscall.EACCES, "needs to own"},
		{"wrong owner of a segment", "open", ".log", syscall.EACCES, "needs to own"},
		{"wrong owner of the cursor", "create", "cursor", syscall.EPERM, "needs to own"},
		{"failing disk", "list", "", syscall.EIO, "input/output error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			q := mustOpen(t, dir, Options{})
			mustAppend(t, q, "kept")
			mustClose(t, q)

			files := newFaultyFiles()
			files.set(on(test.call, test.path, test.err))
			_, err := Open(dir, Options{files: files})
			if !errors.Is(err, test.err) {
				t.Fatalf("got %v", err)
			}
			if text := err.Error(); !strings.Contains(text, dir) || !strings.Contains(text, test.want) || strings.Contains(text, "\n") {
				t.Errorf("%s", text)
			}
			checkEntries(t, drain(t, mustOpen(t, dir, Options{})), []string{"kept"}) // The lock has been given up.
		})
	}
	if _, err := Open("", Options{}); err == nil {
		t.Error("no directory, and no error")
	}
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	if _, err := Open(file, Options{}); !errors.Is(err, syscall.ENOTDIR) || !strings.Contains(err.Error(), "name another directory") {
		t.Errorf("a file as directory: %v", err)
	}
}

// TestFault079Modes checks that nobody else can read what clients said.
func TestFault079Modes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	q := mustOpen(t, dir, Options{})
	mustAppend(t, q, "entry")
	stop := deliver(t, q, DeliverOptions{}, func(context.Context, [][]byte) ([]Failure, error) {
		return []Failure{{Err: errors.New("no"), Permanent: true}}, nil
	})
	flush(t, q)
	stop()
	files := 0
	err := filepath.WalkDir(filepath.Dir(dir), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		files++
		return nil
	})
	if err != nil || files != 11 {
		t.Errorf("%d files, %v", files, err)
	}
}
