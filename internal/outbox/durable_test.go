package outbox

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeliverDurable has the entries of a queue on a disk delivered once they are durable, and no sooner; those in memory need
// no sync.
func TestDeliverDurable(t *testing.T) {
	for name, durability := range durabilities() {
		for _, inMemory := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					q := mustOpen(t, t.TempDir(), Options{Durability: durability})
					if !inMemory && durability != Memory {
						q.recent.limit = 1
					}
					var r receiver
					stop := deliver(t, q, DeliverOptions{}, r.send)
					add := func(entry string) Commit {
						commit, err := q.Append([]byte(entry))
						if err != nil {
							t.Fatal(err)
						}
						return commit
					}
					check := func(after time.Duration, want int) {
						t.Helper()
						<-time.After(after)
						synctest.Wait()
						checkEntries(t, r.entries(), numbered(0, want))
					}
					synctest.Wait()
					add("entry 0")
					if durability != Sync {
						if durability == Kernel {
							check(kernelInterval-1, 0)
							<-time.After(1)
						}
						check(0, 1)
						stop()
						mustClose(t, q)
						return
					}
					check(syncDelay-1, 0)
					check(1, 1)
					add("entry 1")
					commit := add("entry 2")
					check(syncDelay-1, 1)
					if err := commit.Wait(t.Context()); err != nil {
						t.Error(err)
					}
					check(0, 3)
					// A batch goes without an entry that waits for its sync.
					commit = add("entry 3")
					if err := commit.Wait(t.Context()); err != nil {
						t.Error(err)
					}
					add("entry 4")
					check(0, 4)
					check(syncDelay, 5)
					stop()
					mustClose(t, q)
				})
			})
		}
	}
}

// TestLingerDurable has entries wait for others from their sync on: those that are synced meanwhile go with them.
func TestLingerDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustOpen(t, t.TempDir(), Options{})
		const linger = 4 * syncDelay
		var (
			sent  []string
			at    []time.Duration
			began = time.Now()
		)
		stop := deliver(t, q, DeliverOptions{Linger: linger}, func(_ context.Context, entries [][]byte) ([]Failure, error) {
			batch := ""
			for _, entry := range entries {
				batch += string(entry)
			}
			sent, at = append(sent, batch), append(at, time.Since(began))
			return nil, nil
		})
		synctest.Wait()
		// The first lingers from its sync on. The second is synced meanwhile, and the third only appended.
		for _, entry := range []string{"a", "b", "c"} {
			if _, err := q.Append([]byte(entry)); err != nil {
				t.Fatal(err)
			}
			<-time.After(2*syncDelay + syncDelay/4)
		}
		<-time.After(time.Minute)
		want := []time.Duration{syncDelay + linger, 4*syncDelay + syncDelay/2 + syncDelay + linger}
		if !slices.Equal(sent, []string{"ab", "c"}) || !slices.Equal(at, want) {
			t.Errorf("sent %q at %v, want them at %v", sent, at, want)
		}
		stop()
		mustClose(t, q)
	})
}

// TestFlushedSyncs checks that Flushed makes a sync that is due begin at once.
func TestFlushedSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newFaultyFiles()
		q := mustOpen(t, t.TempDir(), Options{files: files})
		var r receiver
		stop := deliver(t, q, DeliverOptions{Linger: time.Hour}, r.send)
		synctest.Wait()
		began, before := time.Now(), files.count("sync")
		if _, err := q.Append([]byte("entry 0")); err != nil {
			t.Fatal(err)
		}
		flush(t, q)
		if waited, syncs := time.Since(began), files.count("sync")-before; waited != 0 || syncs != 1 {
			t.Errorf("waited for %v and %d syncs", waited, syncs)
		}
		flush(t, q) // There is nothing to sync.
		if syncs := files.count("sync") - before; syncs != 1 {
			t.Errorf("%d syncs", syncs)
		}
		stop()
		checkEntries(t, r.entries(), numbered(0, 1))
		mustClose(t, q)
	})
}

// TestEndWithinTries ends a delivery while its batch is refused again and again, at a time at which the queue also looks
// around: nothing counts as delivered.
func TestEndWithinTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustOpen(t, "", Options{Durability: Memory})
		mustAppend(t, q, "one", "two", "three")
		for range 30 { // Which of the two comes first is chance.
			stop := deliver(t, q, DeliverOptions{}, func(context.Context, [][]byte) ([]Failure, error) {
				return nil, errors.New("away")
			})
			time.Sleep(10 * lookInterval)
			stop()
			if s := q.Stats(); s.Pending != 3 {
				t.Fatalf("%d entries are pending, want 3", s.Pending)
			}
		}
		checkEntries(t, drain(t, q), []string{"one", "two", "three"})
	})
}
