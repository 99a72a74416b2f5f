package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestGroupCommit has 32 who append while one sync runs: another one, which begins afterwards, is for all of them.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newFaultyFiles()
		begun, release := make(chan struct{}, 1), make(chan struct{})
		q := mustOpen(t, t.TempDir(), Options{files: files})
		files.set(func(call, path string) error {
			if call == "sync" && strings.HasSuffix(path, ".log") {
				begun <- struct{}{}
				<-release
			}
			return nil
		})
		first, err := q.Append([]byte("first"))
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		before := files.count("sync")
		var (
			waiting sync.WaitGroup
			mu      sync.Mutex
			done    int
		)
		for n := range 32 {
			waiting.Go(func() {
				commit, err := q.Append(fmt.Append(nil, n))
				if err := errors.Join(err, commit.Wait(t.Context())); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				done++
			})
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := first.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting without patience: %v", err)
		}
		synctest.Wait()
		release <- struct{}{}
		<-begun
		synctest.Wait()
		if err := first.Wait(ctx); err != nil { // It is done, whatever the context says.
			t.Error(err)
		}
		mu.Lock()
		if done != 0 {
			t.Errorf("%d were released by a sync that began before they wrote", done)
		}
		mu.Unlock()
		release <- struct{}{}
		waiting.Wait()
		if n := files.count("sync") - before; n != 1 {
			t.Errorf("%d syncs for 32", n)
		}
		files.set(nil)
		mustClose(t, q)
	})
}

// TestSyncDelay has entries that nobody waits for synced by themselves after a while, and at once where somebody does:
// what is appended in two steps within that while takes one sync.
func TestSyncDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newFaultyFiles()
		q := mustOpen(t, t.TempDir(), Options{files: files})
		synctest.Wait()
		before := files.count("sync")
		check := func(after time.Duration, want int) {
			t.Helper()
			<-time.After(after)
			synctest.Wait()
			if n := files.count("sync") - before; n != want {
				t.Errorf("%d syncs, want %d", n, want)
			}
		}
		check(time.Hour, 0)
		start, err := q.Append([]byte("start"))
		if err != nil {
			t.Fatal(err)
		}
		check(syncDelay-1, 0)
		check(1, 1)
		if err := start.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		check(time.Hour, 1)

		if start, err = q.Append([]byte("start")); err != nil {
			t.Fatal(err)
		}
		check(syncDelay-1, 1)
		began := time.Now()
		mustAppend(t, q, "end")
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited for %v: a sync is to begin at once", waited)
		}
		if err := start.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		check(time.Hour, 2)

		// The delay counts from the first entry that is not synced, not from the last.
		for range 4 {
			if _, err := q.Append([]byte("start")); err != nil {
				t.Fatal(err)
			}
			<-time.After(syncDelay / 4)
		}
		check(0, 3)
		mustClose(t, q)
	})
}

// TestKernelSyncs has Kernel entries synced after 100 ms, all at once, and never while nothing is written.
func TestKernelSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newFaultyFiles()
		q := mustOpen(t, t.TempDir(), Options{Durability: Kernel, files: files})
		before := files.count("sync")
		check := func(after time.Duration, want int) {
			t.Helper()
			<-time.After(after)
			synctest.Wait()
			if n := files.count("sync") - before; n != want {
				t.Errorf("%d syncs, want %d", n, want)
			}
		}
		check(time.Hour, 0)
		mustAppend(t, q, "one", "two")
		check(kernelInterval-1, 0)
		check(1, 1)
		check(time.Hour, 1)
		mustAppend(t, q, "three")
		mustClose(t, q)
		if n := files.count("sync") - before; n != 2 {
			t.Errorf("%d syncs after Close", n)
		}
	})
}

// TestSegments checks that segments are removed once they are delivered, and their files are closed.
func TestSegments(t *testing.T) {
	dir := t.TempDir()
	q := mustOpen(t, dir, Options{SegmentBytes: 100})
	mustAppend(t, q, numbered(0, 40)...)
	if n := len(names(t, dir, "*.log")); n != 14 {
		t.Errorf("%d segments of three entries", n)
	}
	open := 0
	q.mu.Lock()
	for _, s := range q.segments {
		if s.file != nil {
			open++
		}
	}
	q.mu.Unlock()
	if open != 1 {
		t.Errorf("%d files are open to write", open)
	}
	checkEntries(t, drain(t, q), numbered(0, 40))
	if n := len(names(t, dir, "*.log")); n != 1 {
		t.Errorf("%d segments are left", n)
	}
}
