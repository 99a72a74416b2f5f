package aibridged_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
)

// acquired is what an Acquire returned.
type acquired struct {
	handler http.Handler
	err     error
}

// acquireLater calls Acquire in a goroutine.
func (p *poolUnderTest) acquireLater(ctx context.Context, builder aibridged.MCPProxyBuilder) <-chan acquired {
	returned := make(chan acquired, 1)
	go func() {
		handler, err := p.Acquire(ctx, user(1), p.client, builder)
		returned <- acquired{handler, err}
	}()
	return returned
}

// heldBuilds is a builder whose builds wait until the test lets them go on.
type heldBuilds struct {
	tools   *toolsMaker
	letGo   chan struct{} // Each value lets one build go on.
	started int           // Read only in synctest bubbles, while nothing runs.
}

func (b *heldBuilds) build(ctx context.Context, req aibridged.Request) (mcp.ServerProxier, error) {
	b.started++
	select {
	case <-b.letGo:
		return b.tools.add(req), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func newHeldBuilds(p *poolUnderTest) *heldBuilds {
	return &heldBuilds{tools: p.tools, letGo: make(chan struct{})}
}

func TestPoolBuildsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
		builds := newHeldBuilds(pool)
		const callers = 50
		var all []<-chan acquired
		for range callers {
			all = append(all, pool.acquireLater(t.Context(), builderFunc(builds.build)))
		}
		synctest.Wait()
		builds.letGo <- struct{}{}
		for _, returned := range all {
			got := <-returned
			if got.err != nil {
				t.Fatal(got.err)
			}
			served200(t, got.handler)
		}
		if builds.started != 1 {
			t.Errorf("%d builds", builds.started)
		}
		pool.checkCounts(t, callers-1, 1, 1, 0)
		pool.checkClosed(t)
	})
}

var errBuild = errors.New("no tools today")

// When the tools of a bridge cannot be built, all who waited for it are served without tools, what the build opened is
// closed, the log says so once, and it is tried again, with growing pauses, until it succeeds. That takes no request.
func TestFault106BuildFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail   func(tools *toolsMaker, req aibridged.Request) (mcp.ServerProxier, error)
		closed []int // How often the tools of the failed build were closed.
		stack  bool  // The log has a stack.
	}{
		"error": {
			fail: func(*toolsMaker, aibridged.Request) (mcp.ServerProxier, error) { return nil, errBuild },
		},
		"error beside tools": {
			fail: func(tools *toolsMaker, req aibridged.Request) (mcp.ServerProxier, error) {
				return tools.add(req), errBuild
			},
			closed: []int{1},
		},
		"error beside no tools of a type": {
			fail: func(*toolsMaker, aibridged.Request) (mcp.ServerProxier, error) {
				return (*toolSessions)(nil), errBuild
			},
			stack: true,
		},
		"panic": {
			fail:  func(*toolsMaker, aibridged.Request) (mcp.ServerProxier, error) { panic("boom") },
			stack: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
				letGo := make(chan struct{})
				const failures = 4
				var mu sync.Mutex // Guards tries.
				var tries []time.Time
				failing := builderFunc(func(_ context.Context, req aibridged.Request) (mcp.ServerProxier, error) {
					<-letGo
					mu.Lock()
					tries = append(tries, time.Now())
					number := len(tries)
					mu.Unlock()
					if number > failures {
						return pool.tools.add(req), nil
					}
					return test.fail(pool.tools, req)
				})
				var waiting []<-chan acquired
				for range 10 {
					waiting = append(waiting, pool.acquireLater(t.Context(), failing))
				}
				synctest.Wait()
				close(letGo)
				for _, returned := range waiting {
					got := <-returned
					if got.err != nil {
						t.Fatal(got.err)
					}
					served200(t, got.handler)
				}
				synctest.Wait()
				if got := pool.tools.closings(); !slices.Equal(got, test.closed) {
					t.Errorf("closings %v, want %v", got, test.closed)
				}
				time.Sleep(5 * time.Minute) // Less than the bridge stays in the pool.
				mu.Lock()
				defer mu.Unlock()
				if len(tries) != failures+1 {
					t.Fatalf("%d tries, want %d: none after the success", len(tries), failures+1)
				}
				for i, backoff := 0, time.Second; i < failures; i, backoff = i+1, 2*backoff {
					checkPause(t, tries[i+1].Sub(tries[i]), backoff)
				}
				if got := strings.Count(strings.Join(pool.log.messages(slog.LevelWarn), "\n"), "without tools"); got != 1 {
					t.Errorf("%d warnings, want one", got)
				}
				if pool.log.has("stack") != test.stack {
					t.Errorf("a stack in the log: %t, want %t", !test.stack, test.stack)
				}
				pool.use(t, user(1)) // The bridge is kept.
				pool.checkCounts(t, 9+1, 1, 1, 0)
				pool.checkClosed(t)
			})
		})
	}
}

// A bridge that leaves the pool while its tools are tried again ends the tries, also one that is running.
func TestPoolEndsTheTriesWithTheBridge(t *testing.T) {
	t.Parallel()
	for _, at := range []int{2, 3} { // The try that hangs, and one that is yet to come.
		synctest.Test(t, func(t *testing.T) {
			pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
			var tries atomic.Int64
			failing := builderFunc(func(ctx context.Context, _ aibridged.Request) (mcp.ServerProxier, error) {
				if tries.Add(1) == int64(at) {
					<-ctx.Done()
				}
				return nil, errBuild
			})
			got := <-pool.acquireLater(t.Context(), failing)
			if got.err != nil {
				t.Fatal(got.err)
			}
			served200(t, got.handler)
			for tries.Load() < 2 {
				time.Sleep(10 * time.Millisecond)
			}
			pool.checkClosed(t)
			before := tries.Load()
			time.Sleep(time.Hour)
			if n := tries.Load() - before; n != 0 {
				t.Errorf("%d tries after the end", n)
			}
		})
	}
}

// Of many bridges without tools, only a few try to build them at the same moment.
func TestPoolBoundsTheTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
		var running, most atomic.Int64
		var began sync.Map
		failing := builderFunc(func(ctx context.Context, req aibridged.Request) (mcp.ServerProxier, error) {
			if _, again := began.LoadOrStore(req, true); !again {
				return nil, errBuild
			}
			n := running.Add(1)
			defer running.Add(-1)
			for {
				seen := most.Load()
				if n <= seen || most.CompareAndSwap(seen, n) {
					break
				}
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		for number := range byte(100) {
			handler, err := pool.Acquire(t.Context(), user(number), pool.client, failing)
			if err != nil {
				t.Fatal(err)
			}
			served200(t, handler)
		}
		time.Sleep(10 * time.Minute)
		if got := most.Load(); got < 2 || got > 8 {
			t.Errorf("up to %d tries at the same moment", got)
		}
		pool.checkClosed(t)
	})
}

// A caller that gives up returns at once and takes nothing from the others, whether it began the build or joined it.
func TestFault105CallerGivesUp(t *testing.T) {
	t.Parallel()
	for name, leaves := range map[string][]int{"the first": {0}, "the second": {1}, "all": {0, 1, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
				builds := newHeldBuilds(pool)
				var callers []<-chan acquired
				var giveUp []context.CancelFunc
				for range 3 {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					giveUp = append(giveUp, cancel)
					callers = append(callers, pool.acquireLater(ctx, builderFunc(builds.build)))
					synctest.Wait() // So that the first caller begins the build.
				}
				for _, i := range leaves {
					giveUp[i]()
					if got := <-callers[i]; got.handler != nil || !errors.Is(got.err, context.Canceled) {
						t.Errorf("caller %d: acquired %v, error %v", i, got.handler, got.err)
					}
				}
				builds.letGo <- struct{}{}
				for i, returned := range callers {
					if slices.Contains(leaves, i) {
						continue
					}
					got := <-returned
					if got.err != nil {
						t.Fatalf("caller %d: %v", i, got.err)
					}
					served200(t, got.handler)
				}
				synctest.Wait()
				pool.use(t, user(1)) // The next Acquire finds the bridge that was built.
				if builds.started != 1 {
					t.Errorf("%d builds", builds.started)
				}
				pool.checkClosed(t)
			})
		})
	}
}

// An Acquire whose context has ended already begins no build.
func TestPoolAcquireAfterTheEndOfItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errBuild)
		if _, err := pool.Acquire(ctx, user(1), pool.client, pool.tools); !errors.Is(err, errBuild) {
			t.Errorf("error %v, want the cause of the context's end", err)
		}
		pool.checkCounts(t, 0, 0, 0, 0)
		pool.checkClosed(t)
	})
}

// Tools whose build hangs hold a bridge up for no more than a second.
func TestPoolBuildHasATimeLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
		builds := newHeldBuilds(pool)
		var got acquired
		took := after(func() { got = <-pool.acquireLater(t.Context(), builderFunc(builds.build)) })
		if got.err != nil || took != time.Second {
			t.Fatalf("error %v after %s", got.err, took)
		}
		served200(t, got.handler)
		pool.checkClosed(t)
	})
}

// Without an MCPProxyBuilder, or with one that has nothing for the user, the bridge has no tools.
func TestPoolBuildsWithoutTools(t *testing.T) {
	t.Parallel()
	for name, builder := range map[string]aibridged.MCPProxyBuilder{
		"no builder": nil,
		"no tools": builderFunc(func(context.Context, aibridged.Request) (mcp.ServerProxier, error) {
			return nil, nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
				got := <-pool.acquireLater(t.Context(), builder)
				if got.err != nil {
					t.Fatal(got.err)
				}
				served200(t, got.handler)
				pool.checkClosed(t)
			})
		})
	}
}

// An Acquire after ReplaceProviders sees the new set, even while an older build runs. The older build serves the
// callers that waited for it and is not kept.
func TestPoolReplacesProvidersDuringABuild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, aibridged.PoolOptions{}, provider(t, "old"))
		builds := newHeldBuilds(pool)
		before := pool.acquireLater(t.Context(), builderFunc(builds.build))
		synctest.Wait()

		pool.ReplaceProviders([]aibridge.Provider{provider(t, "new")})
		if got := pool.use(t, user(1)); got != "new" {
			t.Errorf("after the replacement %q serves", got)
		}
		builds.letGo <- struct{}{}
		got := <-before
		if got.err != nil {
			t.Fatal(got.err)
		}
		if name := served200(t, got.handler); name != "old" {
			t.Errorf("the build of before has provider %q", name)
		}
		synctest.Wait()
		if got := pool.tools.closings(); !slices.Equal(got, []int{0, 1}) { // Tools 1 are the new bridge's.
			t.Errorf("closings %v, want those of the older build", got)
		}
		if got := pool.use(t, user(1)); got != "new" {
			t.Errorf("after the older build has ended %q serves", got)
		}
		pool.checkCounts(t, 1, 2, 2, 1)
		pool.checkClosed(t)
	})
}

// ReplaceProviders does not replace good providers by ones that cannot be served.
func TestFault109BadProvidersAreNotTaken(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string][]aibridge.Provider{
		"a name twice":     {provider(t, "one"), provider(t, "two")},
		"a provider is no": {{}},
		"none":             {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pool := newPool(t, aibridged.PoolOptions{}, provider(t, "old"))
				pool.use(t, user(1))
				pool.ReplaceProviders(bad)
				for number := range byte(2) {
					if got := pool.use(t, user(1+number)); got != "old" {
						t.Errorf("%q serves user %d", got, number)
					}
				}
				pool.checkCounts(t, 1, 2, 2, 0)
				if got := pool.log.messages(slog.LevelError); len(got) != 1 {
					t.Errorf("errors in the log: %v", got)
				}
				pool.checkClosed(t)
			})
		})
	}
}

// A gateway may begin without providers, and be given none again, without an error in the log.
func TestPoolWithoutProviders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, aibridged.PoolOptions{})
		pool.ReplaceProviders(nil)
		if got := pool.log.messages(slog.LevelError); len(got) != 0 {
			t.Errorf("errors in the log: %v", got)
		}
		pool.ReplaceProviders([]aibridge.Provider{provider(t, "new")})
		if got := pool.use(t, user(1)); got != "new" {
			t.Errorf("%q serves", got)
		}
		pool.checkClosed(t)
	})
}
