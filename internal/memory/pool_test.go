package memory_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/aibridged/internal/memory"
)

// TestLimit fills a pool with large buffers and then with small ones: the small ones have the last quarter.
func TestLimit(t *testing.T) {
	pool := memory.New(24 << 20)
	lend := func() []byte {
		buffer, err := pool.Lend(memory.Large + 1)
		if err != nil {
			t.Fatal(err)
		}
		return buffer
	}
	var small [][]byte
	for range 4 {
		large, err := pool.Grow(lend(), 4<<20)
		if err != nil || int64(cap(large)) != 4<<20 {
			t.Fatalf("%d bytes, %v; %d used", cap(large), err, pool.Used())
		}
		small = append(small, large)
	}
	if pool.Used() != 16<<20 {
		t.Errorf("%d bytes are used", pool.Used())
	}
	last := lend()
	small = append(small, last)
	if _, err := pool.Grow(last, 4<<20); !errors.Is(err, memory.ErrExhausted) {
		t.Errorf("beyond three quarters: %v", err)
	}
	if _, err := pool.Grow(last, 5<<20); !errors.Is(err, memory.ErrNever) {
		t.Errorf("more than a sixth: %v", err)
	}
	for {
		buffer, err := pool.Lend(100)
		if errors.Is(err, memory.ErrExhausted) {
			break
		}
		small = append(small, buffer)
	}
	if pool.Used() != pool.Limit() {
		t.Errorf("%d bytes used of %d", pool.Used(), pool.Limit())
	}
	for _, buffer := range small {
		pool.TakeBack(buffer)
	}
	if pool.Used() != 0 {
		t.Errorf("%d bytes are still used", pool.Used())
	}
}

// TestAnnouncedSize checks that a size which was only announced takes little memory.
func TestAnnouncedSize(t *testing.T) {
	pool := memory.New(16 << 20)
	buffer, err := pool.Lend(1 << 40)
	if err != nil || cap(buffer) != 64<<10 {
		t.Errorf("%d bytes, %v", cap(buffer), err)
	}
}

// TestGrowKeepsContent grows buffers from empty to several megabytes.
func TestGrowKeepsContent(t *testing.T) {
	for name, pool := range map[string]*memory.Pool{"pool": memory.New(256 << 20), "no pool": nil} {
		buffer, err := pool.Lend(0)
		for n := 0; err == nil && n < 5<<20; n++ {
			if len(buffer) == cap(buffer) {
				before := cap(buffer)
				if buffer, err = pool.Grow(buffer, 0); cap(buffer) > 5*before {
					t.Errorf("%s: grown from %d to %d bytes", name, before, cap(buffer))
				}
			}
			buffer = append(buffer, byte(n*7))
		}
		if err != nil {
			t.Fatal(err)
		}
		for n, c := range buffer {
			if c != byte(n*7) {
				t.Fatalf("%s: byte %d is %d", name, n, c)
			}
		}
	}
}

// TestPoolConcurrently lends and takes back at random, and checks that the limit always holds and nothing is lost.
func TestPoolConcurrently(t *testing.T) {
	pool := memory.New(8 << 20)
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for range 2000 {
				buffer, err := pool.Lend(rand.Int64N(2 << 20))
				if err != nil {
					continue
				}
				if larger, err := pool.Grow(buffer[:cap(buffer)], rand.Int64N(4<<20)); err == nil {
					buffer = larger
				}
				if used := pool.Used(); used > pool.Limit()+8*(8<<20) { // A refused one is counted for a moment.
					t.Errorf("%d bytes used of %d", used, pool.Limit())
				}
				pool.TakeBack(buffer)
			}
		})
	}
	users.Wait()
	if pool.Used() != 0 {
		t.Errorf("%d bytes are still used", pool.Used())
	}
}

// TestTurn checks that large bodies wait for each other, small ones for none, and nobody for ever.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := memory.New(16 << 20)
		var done []func()
		for range max(1, runtime.GOMAXPROCS(0)/2) {
			turn, err := pool.Turn(t.Context(), memory.Large+1)
			if err != nil {
				t.Fatal(err)
			}
			done = append(done, turn)
		}
		small, err := pool.Turn(t.Context(), memory.Large)
		if err != nil {
			t.Fatal(err)
		}
		small()
		began := time.Now()
		if _, err := pool.Turn(t.Context(), memory.Large+1); !errors.Is(err, memory.ErrNoTurn) || time.Since(began) != 15*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := pool.Turn(ctx, memory.Large+1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a context that ends: %v", err)
		}
		time.AfterFunc(time.Second, done[0])
		if turn, err := pool.Turn(t.Context(), memory.Large+1); err != nil {
			t.Error(err)
		} else {
			turn()
		}
	})
}

// TestAvailable checks that GOMEMLIMIT counts, and that something is known.
func TestAvailable(t *testing.T) {
	if n := memory.Available(); n < 1<<20 || n > 1<<50 {
		t.Errorf("%d bytes", n)
	}
}
