//go:build unix

package outbox

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cdr.dev/slog/v3"
)

// otherThings are what can have the name of a file and is none.
func otherThings(t *testing.T) map[string]func(path string) error {
	t.Helper()
	return map[string]func(path string) error{
		"pipe": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"link to pipe": func(path string) error {
			away := filepath.Join(shortDir(t), "other")
			return errors.Join(syscall.Mkfifo(away, 0o600), os.Symlink(away, path))
		},
		"directory":     func(path string) error { return os.Mkdir(path, 0o700) },
		"link to zeros": func(path string) error { return os.Symlink("/dev/zero", path) },
		"socket": func(path string) error {
			// A socket's path is short.
			listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(shortDir(t), "s"))
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = listener.Close() })
			return os.Symlink(listener.Addr().String(), path)
		},
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestFault077NoFile has something else than a file in the place of a segment: the start does not wait for it and does not
// read it, counts it and names it, and the rest is delivered.
func TestFault077NoFile(t *testing.T) {
	things := otherThings(t)
	things["link nowhere"] = func(path string) error { return os.Symlink(path+"-nowhere", path) }
	for name, put := range things {
		t.Run(name, func(t *testing.T) {
			closed, killed := backlog(t, Sync)
			for _, dir := range []string{closed, killed} {
				segment := names(t, dir, "*.log")[1]
				must(t, os.Remove(segment))
				must(t, put(segment))
				log := &logLines{}
				q := mustOpen(t, dir, Options{ReserveBytes: 1, Logger: slog.Make(log)})
				if s := q.Stats(); s.Damaged == 0 || log.count(filepath.Base(segment)) == 0 {
					t.Errorf("%+v, logged %q", s, log.lines)
				}
				got := drain(t, q)
				checkEntries(t, got, append(numbered(0, 2), numbered(4, 6)...))
				mustClose(t, q)
			}
		})
	}
}

// TestFault077NoFileMeanwhile puts something else in the place of a segment that waits for its delivery: the queue goes
// on, and can be closed.
func TestFault077NoFileMeanwhile(t *testing.T) {
	for name, put := range otherThings(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			q := mustOpen(t, dir, Options{SegmentBytes: 80, ReserveBytes: 1})
			q.mu.Lock()
			q.recent.limit = 1 // So that all of it is read from the disk.
			q.mu.Unlock()
			mustAppend(t, q, numbered(0, 6)...)
			segment := names(t, dir, "*.log")[1]
			must(t, os.Remove(segment))
			must(t, put(segment))
			checkEntries(t, drain(t, q), append(numbered(0, 2), numbered(4, 6)...))
			if s := q.Stats(); s.Damaged == 0 || s.Pending != 0 {
				t.Errorf("%+v", s)
			}
			mustClose(t, q)
		})
	}
}

// TestFault077NoFileElsewhere has something else in the place of the other files: the start fails and says which, or does
// without.
func TestFault077NoFileElsewhere(t *testing.T) {
	for name, put := range otherThings(t) {
		for _, file := range []string{"cursor", "segments", "reserve", "lock"} {
			t.Run(name+" "+file, func(t *testing.T) {
				dir, _ := backlog(t, Sync)
				must(t, os.Remove(filepath.Join(dir, file)))
				must(t, put(filepath.Join(dir, file)))
				q, err := Open(dir, Options{ReserveBytes: 1})
				if err == nil {
					mustClose(t, q)
					t.Fatal("it opened")
				}
				if text := err.Error(); !strings.Contains(text, file) || strings.Contains(text, "\n") {
					t.Errorf("%v", err)
				}
			})
		}
		t.Run(name+" retry", func(t *testing.T) {
			dir, _ := backlog(t, Sync)
			must(t, put(filepath.Join(dir, "retry", "0-0.rec")))
			q := mustOpen(t, dir, Options{ReserveBytes: 1})
			q.takeBack(context.Background())
			checkEntries(t, drain(t, q), numbered(0, 6))
			mustClose(t, q)
		})
	}
}
