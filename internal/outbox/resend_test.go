package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// refuseAll refuses every entry for good.
func refuseAll(_ context.Context, entries [][]byte) ([]Failure, error) {
	var failures []Failure
	for n, entry := range entries {
		failures = append(failures, Failure{Index: n, Err: errors.New("refused " + string(entry)), Permanent: true})
	}
	return failures, nil
}

// withDead returns the directory of a queue that is closed and has dead entries.
func withDead(t *testing.T, entries ...string) string {
	t.Helper()
	dir := t.TempDir()
	q := mustOpen(t, dir, Options{})
	mustAppend(t, q, entries...)
	stop := deliver(t, q, DeliverOptions{}, refuseAll)
	flush(t, q)
	stop()
	if s := q.Stats(); s != (Stats{Dead: len(entries)}) {
		t.Errorf("%+v", s)
	}
	mustClose(t, q)
	return dir
}

// TestResendClosed moves entries back while no process has the queue.
func TestResendClosed(t *testing.T) {
	dir := withDead(t, "one", "two", "three")
	if n, err := Resend(dir); n != 3 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	q := mustOpen(t, dir, Options{})
	if s := q.Stats(); s.Pending != 3 || s.Dead != 0 {
		t.Errorf("%+v", s)
	}
	if left := names(t, dir, "retry/*"); len(left) != 0 {
		t.Errorf("left in retry: %q", left)
	}
	got := drain(t, q)
	slices.Sort(got)
	checkEntries(t, got, []string{"one", "three", "two"})
	for _, dir := range []string{t.TempDir(), filepath.Join(dir, "nowhere")} {
		if n, err := Resend(dir); n != 0 || err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("no queue in %s: %d, %v", dir, n, err)
		}
	}
}

// TestResendOpen moves entries back beside the process that has the queue: it finds them within a second or so.
func TestResendOpen(t *testing.T) {
	dir := withDead(t, "dead")
	synctest.Test(t, func(t *testing.T) {
		q := mustOpen(t, dir, Options{})
		taken := make(chan string, 1)
		stop := deliver(t, q, DeliverOptions{}, func(_ context.Context, entries [][]byte) ([]Failure, error) {
			taken <- string(entries[0])
			return nil, nil
		})
		synctest.Wait()
		if s := q.Stats(); s.Dead != 1 {
			t.Errorf("%+v", s)
		}
		begin := time.Now()
		if n, err := Resend(dir); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if got := <-taken; got != "dead" || time.Since(begin) > lookInterval {
			t.Errorf("%q after %v", got, time.Since(begin))
		}
		flush(t, q)
		if s := q.Stats(); s != (Stats{Delivered: 1}) {
			t.Errorf("%+v", s)
		}
		stop()
		mustClose(t, q)
	})
}

// TestFault083DeadRecord checks what an operator finds in dead/.
func TestFault083DeadRecord(t *testing.T) {
	dir := withDead(t, "entry\nof two lines")
	paths := names(t, dir, "dead/*.rec")
	if len(paths) != 1 {
		t.Fatalf("%q", paths)
	}
	line, entry, _ := bytes.Cut(readFile(t, paths[0]), []byte("\n"))
	var n note
	if err := json.Unmarshal(line, &n); err != nil {
		t.Fatal(err)
	}
	if string(entry) != "entry\nof two lines" || n.Reason != "refused "+string(entry) || time.Since(n.Appended) > time.Minute {
		t.Errorf("%s and %q", line, entry)
	}
}

// TestFault083DeadTwice has an entry that is delivered and set aside again because the cursor was lost: it is one.
func TestFault083DeadTwice(t *testing.T) {
	dir := t.TempDir()
	q := mustOpen(t, dir, Options{})
	mustAppend(t, q, "one", "two")
	cursor := readFile(t, filepath.Join(dir, "cursor"))
	stop := deliver(t, q, DeliverOptions{}, refuseAll)
	flush(t, q)
	stop()
	mustClose(t, q)
	writeFile(t, filepath.Join(dir, "cursor"), cursor)
	q = mustOpen(t, dir, Options{})
	stop = deliver(t, q, DeliverOptions{}, refuseAll)
	flush(t, q)
	stop()
	if s := q.Stats(); s.Dead != 2 || len(names(t, dir, "dead/*")) != 2 {
		t.Errorf("%+v", s)
	}
}

// TestResendDamaged has files in retry/ that cannot be sent.
func TestResendDamaged(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func([]byte) []byte
		damaged int64
		stays   string
	}{
		{"flipped", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, 1, "damaged"},
		{"cut", func(b []byte) []byte { return b[:len(b)-1] }, 1, "damaged"},
		{"no note", func([]byte) []byte { return []byte("what is this") }, 1, "damaged"},
		{"long note", func([]byte) []byte { return bytes.Repeat([]byte("x"), 2*maxNoteBytes) }, 1, "damaged"},
		{"empty", func([]byte) []byte { return nil }, 1, "damaged"},
		{"119 newer", func(b []byte) []byte { return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":2`), 1) }, 0, "retry"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := withDead(t, "damaged one", "good")
			if n, err := Resend(dir); n != 2 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
			for _, path := range names(t, dir, "retry/*") {
				if content := readFile(t, path); bytes.HasSuffix(content, []byte("damaged one")) {
					writeFile(t, path, test.change(content))
				}
			}
			q := mustOpen(t, dir, Options{})
			if s := q.Stats(); s.Damaged != test.damaged || s.Dead != 0 {
				t.Errorf("%+v", s)
			}
			checkEntries(t, drain(t, q), []string{"good"})
			q.lookAround(t.Context())
			if s := q.Stats(); s.Damaged != test.damaged {
				t.Errorf("%+v", s)
			}
			if n := len(names(t, dir, test.stays+"/*.rec")); n != 1 {
				t.Errorf("%d files in %s", n, test.stays)
			}
		})
	}
}

// TestResendStays has a file that cannot be removed after it was taken back: it is not sent every second.
func TestResendStays(t *testing.T) {
	for _, call := range []string{"remove", "sync"} {
		dir := withDead(t, "one")
		files := newFaultyFiles()
		q := mustOpen(t, dir, Options{files: files})
		if n, err := q.Resend(); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		files.set(func(c, path string) error {
			if c == call || call == "sync" && c == "create" {
				return syscall.EACCES
			}
			return nil
		})
		for range 3 {
			q.lookAround(t.Context())
		}
		checkEntries(t, drain(t, q), []string{"one"})
		files.set(nil)
		q.lookAround(t.Context())
		// Only what is durable elsewhere may go.
		if n := len(names(t, dir, "retry/*.rec")); call == "remove" && n != 0 || call == "sync" && n != 1 {
			t.Errorf("%s fails: %d files are left", call, n)
		}
		if n := drain(t, q); len(n) != 0 {
			t.Errorf("%q again", n)
		}
		mustClose(t, q)
	}
}

// TestResendFull has no room for what is moved back: it waits where it is.
func TestResendFull(t *testing.T) {
	dir := withDead(t, "one", "two", "three")
	if n, err := Resend(dir); n != 3 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	files := newFaultyFiles()
	files.set(func(call, path string) error {
		if call == "write" && strings.HasSuffix(path, ".log") && files.count("write") > 1 { // Beyond the header.
			return syscall.ENOSPC
		}
		return nil
	})
	q := mustOpen(t, dir, Options{files: files})
	if s := q.Stats(); s.Pending != 0 || s.AppendErrors != 1 {
		t.Errorf("%+v", s)
	}
	files.set(nil)
	q.lookAround(t.Context())
	if got := drain(t, q); len(got) != 3 {
		t.Errorf("%q", got)
	}
}

// TestResendMemoryFull checks that dead entries in memory are bounded, and stay when they cannot be appended.
func TestResendMemoryFull(t *testing.T) {
	q := mustOpen(t, "", Options{Durability: Memory, MaxBytes: maxGraveBytes + 1<<20, ReserveBytes: 1})
	large := strings.Repeat("x", maxGraveBytes/4)
	for range 4 {
		if _, err := q.AppendReserved([]byte(large)); err != nil { // Others may not be large while half of the room is used.
			t.Fatal(err)
		}
	}
	stop := deliver(t, q, DeliverOptions{}, func(_ context.Context, entries [][]byte) ([]Failure, error) {
		return []Failure{{Err: errors.New("no"), Permanent: true}}, nil
	})
	flush(t, q)
	mustAppend(t, q, "small")
	flush(t, q)
	stop()
	if s := q.Stats(); s.Dead != 4 { // The first one was dropped.
		t.Errorf("%+v", s)
	}
	mustAppend(t, q, large, large)
	if n, err := q.Resend(); n != 0 || !errors.Is(err, ErrFull) {
		t.Errorf("%d, %v", n, err)
	}
	if s := q.Stats(); s.Dead != 4 {
		t.Errorf("%+v", s)
	}
	drain(t, q)
	if n, err := q.Resend(); n != 4 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
