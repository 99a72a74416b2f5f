package lease_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/aibridged/internal/lease"
)

// site is a pool of numbers, with a log of what happens to them. Each build makes the next number.
type site struct {
	*lease.Pool[string, int]

	mu     sync.Mutex
	built  int   // Guarded by mu.
	closed []int // Guarded by mu: the numbers in the order in which they were closed.
}

func newSite(t *testing.T, most int, ttl time.Duration) *site {
	t.Helper()
	pool, err := lease.New[string, int](most, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return &site{Pool: pool}
}

func (s *site) build(context.Context) (int, func(context.Context), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.built++
	number := s.built
	return number, func(context.Context) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = append(s.closed, number)
	}, nil
}

// acquire calls Acquire, and fails the test where that fails.
func (s *site) acquire(t *testing.T, key string) *lease.Lease[string, int] {
	t.Helper()
	l, _, err := s.Acquire(t.Context(), key, s.build)
	if err != nil {
		t.Fatalf("acquire %s: %v", key, err)
	}
	return l
}

// use acquires and uses a lease, and returns the number.
func (s *site) use(t *testing.T, key string) (number int) {
	t.Helper()
	if !s.acquire(t, key).Use(func(n int) { number = n }) {
		t.Fatalf("%s was closed before its use", key)
	}
	return number
}

// checkClosed fails the test unless exactly these numbers were closed, once each, in any order. It is for synctest
// bubbles.
func (s *site) checkClosed(t *testing.T, want ...int) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := slices.Sorted(slices.Values(s.closed)); !slices.Equal(got, want) {
		t.Errorf("closed are %v, want %v", got, want)
	}
}

func (s *site) shutdown(t *testing.T) {
	t.Helper()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("shut down: %v", err)
	}
}

func (s *site) checkCounts(t *testing.T, hits, misses, added, evicted uint64) {
	t.Helper()
	c := s.Counts()
	got := [4]uint64{c.Hits(), c.Misses(), c.KeysAdded(), c.KeysEvicted()}
	if want := [4]uint64{hits, misses, added, evicted}; got != want {
		t.Errorf("hits, misses, added, evicted are %v, want %v", got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, test := range []struct {
		most int
		ttl  time.Duration
	}{{0, time.Hour}, {-1, time.Hour}, {1, 0}, {1, -time.Second}} {
		if pool, err := lease.New[string, int](test.most, test.ttl); pool != nil || err == nil {
			t.Errorf("%+v: %v, %v", test, pool, err)
		}
	}
}

// All who acquire a value while it is being built get that one, and it is closed once.
func TestBuildsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, letGo := newSite(t, 10, time.Hour), make(chan struct{})
		const callers = 20
		var hits [callers]bool
		var racing sync.WaitGroup
		for i := range callers {
			racing.Go(func() {
				l, hit, err := s.Acquire(t.Context(), "a", func(ctx context.Context) (int, func(context.Context), error) {
					<-letGo
					return s.build(ctx)
				})
				if err != nil {
					t.Error(err)
					return
				}
				hits[i] = hit
				l.Use(func(number int) {
					if number != 1 {
						t.Errorf("number %d", number)
					}
				})
			})
		}
		synctest.Wait()
		close(letGo)
		racing.Wait()
		if n := slices.Index(hits[:], false); n < 0 || slices.Contains(hits[n+1:], false) {
			t.Errorf("hits %v, want one miss", hits)
		}
		s.checkCounts(t, callers-1, 1, 1, 0)
		s.checkClosed(t)
		s.shutdown(t)
		s.checkClosed(t, 1)
		s.checkCounts(t, callers-1, 1, 1, 1)
	})
}

// A failed build fails all who wait for it, is closed where there is something to close, and is not kept: an Acquire
// after it builds anew.
func TestFailedBuildIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, letGo, errBuild := newSite(t, 10, time.Hour), make(chan struct{}), errors.New("not today")
		var racing sync.WaitGroup
		for range 10 {
			racing.Go(func() {
				_, _, err := s.Acquire(t.Context(), "a", func(ctx context.Context) (int, func(context.Context), error) {
					<-letGo
					number, end, _ := s.build(ctx)
					return number, end, errBuild
				})
				if !errors.Is(err, errBuild) {
					t.Errorf("error %v", err)
				}
				if got := s.use(t, "a"); got != 2 {
					t.Errorf("after the failure: number %d", got)
				}
			})
		}
		synctest.Wait()
		close(letGo)
		racing.Wait()
		s.checkClosed(t, 1)
		s.shutdown(t)
		s.checkClosed(t, 1, 2)
	})
}

// A caller that gives up gets its own cause at once. The build goes on, for the others and for later callers.
func TestCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, letGo, errLeft := newSite(t, 10, time.Hour), make(chan struct{}), errors.New("left")
		slow := func(ctx context.Context) (int, func(context.Context), error) {
			<-letGo
			if ctx.Err() != nil {
				t.Error("the build was cancelled")
			}
			return s.build(ctx)
		}
		ctx, leave := context.WithCancelCause(t.Context())
		var first, second sync.WaitGroup
		first.Go(func() {
			if _, hit, err := s.Acquire(ctx, "a", slow); !errors.Is(err, errLeft) || hit {
				t.Errorf("hit %t, error %v", hit, err)
			}
		})
		synctest.Wait()
		second.Go(func() {
			l, hit, err := s.Acquire(t.Context(), "a", slow)
			if err != nil || !hit || !l.Use(func(int) {}) {
				t.Errorf("hit %t, error %v", hit, err)
			}
		})
		synctest.Wait()
		leave(errLeft)
		first.Wait()
		close(letGo)
		second.Wait()
		if _, _, err := s.Acquire(ctx, "b", slow); !errors.Is(err, errLeft) {
			t.Errorf("whose context has ended already: %v", err)
		}
		s.checkCounts(t, 1, 1, 1, 0)
		s.shutdown(t)
		s.checkClosed(t, 1)
	})
}

// A value that leaves the pool while it is used is closed by its last user, and not before.
func TestLastUserCloses(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, s *site){
		"unlinked": func(_ *testing.T, s *site) { s.UnlinkAll() },
		"expired":  func(*testing.T, *site) { time.Sleep(time.Hour) },
		"evicted":  func(t *testing.T, s *site) { s.use(t, "b") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, 1, time.Hour)
				first, second := s.acquire(t, "a"), s.acquire(t, "a")
				leave(t, s)
				s.checkClosed(t)
				first.Release()
				first.Release()
				first.Use(func(int) {}) // Released already, but it still works while the other lease holds the value.
				s.checkClosed(t)
				second.Use(func(int) { s.checkClosed(t) })
				s.checkClosed(t, 1)
				for _, l := range []*lease.Lease[string, int]{first, second} {
					if l.Use(func(int) { t.Error("used after it was closed") }) {
						t.Error("use of what is closed")
					}
				}
				s.shutdown(t)
			})
		})
	}
}

// Get finds a value that exists, for a use like any other, and starts no build.
func TestGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, letGo := newSite(t, 10, time.Hour), make(chan struct{})
		if s.Get("a") != nil {
			t.Error("got what nobody built")
		}
		go func() {
			l, _, err := s.Acquire(t.Context(), "a", func(ctx context.Context) (int, func(context.Context), error) {
				<-letGo
				return s.build(ctx)
			})
			if err != nil || !l.Use(func(int) {}) {
				t.Errorf("error %v", err)
			}
		}()
		synctest.Wait()
		if s.Get("a") != nil {
			t.Error("got what is being built")
		}
		close(letGo)
		synctest.Wait()
		l := s.Get("a")
		if l == nil {
			t.Fatal("did not get what is there")
		}
		s.UnlinkAll()
		if s.Get("a") != nil {
			t.Error("got what has left")
		}
		s.checkClosed(t)
		l.Release()
		s.checkClosed(t, 1)
		s.checkCounts(t, 1, 1, 1, 1)
		s.shutdown(t)
	})
}

func TestLeastRecentlyUsedLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 3, time.Hour)
		for _, key := range []string{"a", "b", "c", "a", "d"} {
			s.use(t, key)
		}
		s.checkClosed(t, 2)
		s.checkCounts(t, 1, 4, 4, 1)
		s.shutdown(t)
	})
}

// A value stays for the TTL, however much it is used.
func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 3, time.Hour)
		s.use(t, "a")
		time.Sleep(time.Hour - time.Nanosecond)
		if got := s.use(t, "a"); got != 1 {
			t.Errorf("before: number %d", got)
		}
		time.Sleep(time.Nanosecond)
		s.checkClosed(t, 1)
		if got := s.use(t, "a"); got != 2 {
			t.Errorf("after: number %d", got)
		}
		s.shutdown(t)
	})
}

// ReleaseAfter releases an unused lease, and does not touch one in use.
func TestReleaseAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 3, time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		unused, used := s.acquire(t, "a"), s.acquire(t, "b")
		unused.ReleaseAfter(ctx)
		used.ReleaseAfter(ctx)
		s.UnlinkAll()
		used.Use(func(int) {
			cancel()
			s.checkClosed(t, 1)
		})
		s.checkClosed(t, 1, 2)
		if unused.Use(func(int) { t.Error("used after it was closed") }) {
			t.Error("use of what is closed")
		}
		s.shutdown(t)
	})
}

// A use that panics releases its lease.
func TestUsePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 3, time.Hour)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			s.acquire(t, "a").Use(func(int) { panic("boom") })
		}()
		s.shutdown(t)
		s.checkClosed(t, 1)
	})
}

// A value without an end leaves the pool without a call.
func TestNothingToClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 3, time.Hour)
		l, _, err := s.Acquire(t.Context(), "a", func(context.Context) (int, func(context.Context), error) { return 7, nil, nil })
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
		s.shutdown(t)
		s.checkCounts(t, 0, 1, 1, 1)
	})
}

func TestShutdownWaitsForTheLastUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 3, time.Hour)
		held := s.acquire(t, "a")
		down := make(chan error, 2)
		for range cap(down) {
			go func() { down <- s.Shutdown(t.Context()) }()
		}
		synctest.Wait()
		if len(down) != 0 {
			t.Error("it did not wait")
		}
		if _, _, err := s.Acquire(t.Context(), "a", s.build); !errors.Is(err, lease.ErrClosed) {
			t.Errorf("acquire: %v", err)
		}
		held.Release()
		for range cap(down) {
			if err := <-down; err != nil {
				t.Error(err)
			}
		}
		s.checkClosed(t, 1)
		s.shutdown(t)
	})
}

// When its context ends first, Shutdown fails with the cause, and the contexts of builds and closings end.
func TestShutdownLosesPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 3, time.Hour)
		waits := func(ctx context.Context) { <-ctx.Done() }
		slow := func(ctx context.Context) (int, func(context.Context), error) {
			waits(ctx)
			return 0, waits, ctx.Err()
		}
		failed := make(chan error)
		go func() {
			_, _, err := s.Acquire(t.Context(), "a", slow)
			failed <- err
		}()
		held := s.acquire(t, "b")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("error %v after %s", err, time.Since(began))
		}
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller of the build has error %v", err)
		}
		held.Release()
		s.shutdown(t)
		s.checkClosed(t, 1)
	})
}

// Everything races with Shutdown: each lease can be used, and when Shutdown returns, each value that was built has been
// closed once. The race detector makes this test stricter.
func TestShutdownRaces(t *testing.T) {
	const rounds = 2000
	for range rounds {
		s := newSite(t, 1, time.Hour)
		var racing sync.WaitGroup
		for _, key := range []string{"a", "b", "a"} {
			racing.Go(func() {
				if l, _, err := s.Acquire(t.Context(), key, s.build); err == nil && !l.Use(func(int) {}) {
					t.Error("a lease could not be used")
				}
			})
		}
		ctx, giveUp := context.WithCancel(t.Context())
		racing.Go(func() {
			if l, _, err := s.Acquire(ctx, "a", s.build); err == nil {
				l.ReleaseAfter(ctx)
				l.Use(func(int) {})
			}
		})
		racing.Go(func() {
			if l := s.Get("a"); l != nil && !l.Use(func(int) {}) {
				t.Error("what was got could not be used")
			}
		})
		racing.Go(giveUp)
		racing.Go(s.UnlinkAll)
		racing.Go(func() { s.shutdown(t) })
		racing.Wait()
		s.shutdown(t)
		s.mu.Lock()
		if closed := slices.Sorted(slices.Values(s.closed)); len(closed) != s.built || len(slices.Compact(closed)) != s.built {
			t.Errorf("%d built, closed are %v", s.built, s.closed)
		}
		s.mu.Unlock()
		if t.Failed() {
			return
		}
	}
}

// TestShutdownEndsUnusedLeases is about leases that nobody ever uses or releases: Shutdown waits for them for a while and
// not for ever, whether their values are still in the pool or not. A use then fails; one that is under way goes on.
func TestShutdownEndsUnusedLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 2, time.Hour)
		unused := []*lease.Lease[string, int]{s.acquire(t, "a"), s.acquire(t, "a"), s.acquire(t, "b")}
		s.acquire(t, "c").Release() // Evicts a, which is unlinked and held.
		late := s.acquire(t, "c")
		finish, running := make(chan struct{}), make(chan struct{})
		go s.acquire(t, "c").Use(func(int) {
			close(running)
			<-finish
		})
		<-running
		began := time.Now()
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		synctest.Wait()
		if !late.Use(func(int) {}) {
			t.Error("a lease could not be used at once")
		}
		time.Sleep(time.Minute)
		if len(down) != 0 {
			t.Error("it did not wait for a use")
		}
		close(finish)
		if err := <-down; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %s", took)
		}
		slices.Sort(s.closed[:2]) // Both were closed at the same moment.
		s.checkClosed(t, 1, 2, 3)
		for _, l := range unused {
			if l.Use(func(int) { t.Error("used after the end") }) {
				t.Error("a closed value could be used")
			}
			l.Release()
		}
	})
}

// TestShutdownWithNothingButUnusedLeases is about the time that Shutdown takes then.
func TestShutdownWithNothingButUnusedLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 2, time.Hour)
		_ = s.acquire(t, "a")
		began := time.Now()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		s.checkClosed(t, 1)
	})
}
