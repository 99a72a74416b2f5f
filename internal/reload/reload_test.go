package reload_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/coder/aibridged/internal/reload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is a loop that notes when its reloads run, counted from its first one.
type watched struct {
	*reload.Loop

	began time.Time
	stop  func()

	mu      sync.Mutex
	fails   int             // Guarded by mu; how many of the next reloads fail.
	reloads []time.Duration // Guarded by mu.
}

// start reloads once and runs the loop, within a synctest bubble.
func start(t *testing.T, fails int) *watched {
	t.Helper()
	w := &watched{fails: fails, began: time.Now()}
	w.Loop = reload.New(func(context.Context) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.reloads = append(w.reloads, time.Since(w.began))
		w.fails--
		return w.fails < 0
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	w.Reload(ctx)
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	w.stop = func() {
		cancel()
		<-done
	}
	return w
}

// A burst of changes causes two reloads: one at once, and one a second later for the changes in between.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, 0)
		time.Sleep(time.Hour)
		for range 100 {
			w.Changed()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Hour)
		w.stop()
		if want := []time.Duration{0, time.Hour, time.Hour + time.Second}; !slices.Equal(w.reloads, want) {
			t.Errorf("reloads at %v, want %v", w.reloads, want)
		}
	})
}

// A change before a reload begins causes no second one.
func TestChangedBeforeReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		l := reload.New(func(context.Context) bool { n++; return true })
		l.Changed()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		l.Reload(ctx)
		l.Run(ctx)
		if n != 1 {
			t.Errorf("%d reloads", n)
		}
	})
}

// A reload that fails is tried again, with pauses that grow to a minute, until one succeeds.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fails = 10
		w := start(t, fails)
		time.Sleep(time.Hour)
		w.stop()
		if len(w.reloads) != fails+1 {
			t.Fatalf("reloads at %v", w.reloads)
		}
		backoff := time.Second
		for i := range fails {
			took := w.reloads[i+1] - w.reloads[i]
			if i > 0 {
				took -= time.Second // The pause after each of the loop's own reloads.
			}
			if took < backoff/2 || took > backoff {
				t.Errorf("pause %d is %s, want %s to %s", i, took, backoff/2, backoff)
			}
			backoff = min(2*backoff, time.Minute)
		}
	})
}

// A change does not wait for the back-off.
func TestChangeDuringBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, 1000)
		count := func() int {
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.reloads)
		}
		time.Sleep(10 * time.Minute) // The pauses are at least half a minute by now.
		for before := count(); count() == before; {
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second)
		before := count()
		w.Changed()
		if got := count(); got != before+1 {
			t.Errorf("%d reloads by a change", got-before)
		}
		w.stop()
	})
}

// TestRetry checks the pauses of Retry, and that it ends with a success or its context.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := time.Now()
		tries := 0
		reload.Retry(t.Context(), func(context.Context) bool {
			want := min(time.Second<<tries, time.Minute)
			if pause := time.Since(last); pause < want/2 || pause > want {
				t.Errorf("try %d after %s, want %s to %s", tries, pause, want/2, want)
			}
			last = time.Now()
			tries++
			return tries == 10
		})
		if tries != 10 {
			t.Errorf("%d tries", tries)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		reload.Retry(ctx, func(context.Context) bool { return false })
		if took := time.Since(began); took != time.Hour {
			t.Errorf("it ended after %s", took)
		}
	})
}
