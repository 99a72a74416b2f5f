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
