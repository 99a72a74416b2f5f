package outbox

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestLinger appends while the consumer is idle: what comes within the time goes together, and what comes later does not
// keep it waiting.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustOpen(t, "", Options{Durability: Memory})
		began := time.Now()
		var sent []string
		var at []time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- q.Deliver(ctx, DeliverOptions{Linger: 10 * time.Millisecond}, func(_ context.Context, entries [][]byte) ([]Failure, error) {
				batch := ""
				for _, entry := range entries {
					batch += string(entry)
				}
				sent, at = append(sent, batch), append(at, time.Since(began))
				return nil, nil
			})
		}()
		synctest.Wait()
		for _, entry := range []string{"a", "b", "c"} {
			mustAppend(t, q, entry)
			time.Sleep(6 * time.Millisecond)
		}
		time.Sleep(time.Second)
		cancel()
		<-done
		if want := []string{"ab", "c"}; !slices.Equal(sent, want) {
			t.Errorf("sent %q, want %q", sent, want)
		}
		if at[0] != 10*time.Millisecond || at[1] < 12*time.Millisecond || at[1] > 22*time.Millisecond {
			t.Errorf("sent at %v, want 10 ms and at most 22 ms", at)
		}
		mustClose(t, q)
	})
}

// TestLingerFull checks that a whole batch does not wait, and that a smaller one waits only once.
func TestLingerFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustOpen(t, "", Options{Durability: Memory})
		mustAppend(t, q, numbered(0, 7)...)
		began := time.Now()
		var sizes []int
		var at []time.Duration
		stop := deliver(t, q, DeliverOptions{Linger: time.Second, BatchEntries: 3}, func(_ context.Context, entries [][]byte) ([]Failure, error) {
			sizes, at = append(sizes, len(entries)), append(at, time.Since(began))
			return nil, nil
		})
		synctest.Wait()
		if want := []int{3, 3, 1}; !slices.Equal(sizes, want) || at[2] != 0 {
			t.Errorf("sent %v at %v", sizes, at)
		}
		// While one batch is sent others come: these are fewer, and wait.
		mustAppend(t, q, numbered(7, 9)...)
		time.Sleep(time.Second - 1)
		mustAppend(t, q, numbered(9, 13)...)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if want := []int{3, 3, 1, 3, 3}; !slices.Equal(sizes, want) || at[3] != time.Second || at[4] != time.Second {
			t.Errorf("sent %v at %v", sizes, at)
		}
		stop()
		mustClose(t, q)
	})
}

// TestLingerFlushed checks that nothing lingers while a call of Flushed waits.
func TestLingerFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustOpen(t, "", Options{Durability: Memory})
		var r receiver
		stop := deliver(t, q, DeliverOptions{Linger: time.Hour}, r.send)
		synctest.Wait()
		began := time.Now()
		for n := range 3 {
			mustAppend(t, q, numbered(n, n+1)...)
			if n == 1 {
				synctest.Wait() // It lingers already.
			}
			flush(t, q)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited for %v", waited)
		}
		checkEntries(t, r.entries(), numbered(0, 3))
		mustAppend(t, q, "later") // Nobody waits any more.
		time.Sleep(time.Minute)
		if n := len(r.entries()); n != 3 {
			t.Errorf("%d entries", n)
		}
		stop()
		mustClose(t, q)
	})
}
