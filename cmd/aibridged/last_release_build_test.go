package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// lastRelease builds the program of the commit that testdata/last_release names, and returns the file. It skips the test
// where the history does not go back that far.
func lastRelease(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds the last release's program")
	}
	text, err := os.ReadFile(filepath.Join("testdata", "last_release"))
	check(t, err)
	commit := strings.TrimSpace(string(text))
	if out, err := git(t, "cat-file", "-e", commit+"^{commit}").CombinedOutput(); err != nil {
		t.Skipf("the last release, commit %s, is not in the history here, as in a shallow checkout or an archive: fetch it to run this test (%v) %s", commit, err, out)
	}
	program := filepath.Join(t.TempDir(), "aibridged")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "./cmd/aibridged")
	build.Dir = releaseSource(t, commit)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the last release: %v\n%s", err, out)
	}
	return program
}

// git returns a command of git, which looks at a checkout of another user's, too: it could be that of who runs the tests in a
// container.
func git(t *testing.T, args ...string) *exec.Cmd {
	return exec.CommandContext(t.Context(), "git", append([]string{"-c", "safe.directory=*"}, args...)...)
}

// releaseSource returns a directory with the source of a commit. It stays, since the go command compiles only once what is
// in the same directory.
func releaseSource(t *testing.T, commit string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	cache = filepath.Join(cache, "aibridged-releases")
	source := filepath.Join(cache, commit)
	if _, err := os.Stat(source); !errors.Is(err, fs.ErrNotExist) {
		check(t, err)
		return source
	}
	check(t, os.MkdirAll(cache, 0o700))
	made, err := os.MkdirTemp(cache, "new-*")
	check(t, err)
	root, err := git(t, "rev-parse", "--show-toplevel").Output()
	check(t, err)
	archive := git(t, "archive", "--format=tar", commit)
	archive.Dir = strings.TrimSpace(string(root)) // Elsewhere it would be that directory alone.
	content, err := archive.Output()
	check(t, err)
	check(t, extract(made, content))
	if err := os.Rename(made, source); err != nil { // Another test may have been faster.
		check(t, os.RemoveAll(made))
		_, err := os.Stat(source)
		check(t, err)
	}
	return source
}

// extract writes the directories and files of an archive below a directory.
func extract(directory string, archive []byte) error {
	root, err := os.OpenRoot(directory)
	if err != nil {
		return err
	}
	defer root.Close()
	for reader := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch header.Typeflag {
		case tar.TypeXGlobalHeader:
		case tar.TypeDir:
			err = root.MkdirAll(filepath.Clean(header.Name), 0o700)
		case tar.TypeReg:
			var content []byte
			if content, err = io.ReadAll(reader); err == nil {
				err = root.WriteFile(header.Name, content, 0o600)
			}
		case tar.TypeSymlink:
			err = root.Symlink(header.Linkname, header.Name)
		default:
			err = fmt.Errorf("%s is of type %q", header.Name, header.Typeflag)
		}
		if err != nil {
			return err
		}
	}
}
