package aibridged_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
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

// When a build fails, all who waited for it get the error, its bridge is not kept, and what it opened is closed.
func TestFault106BuildFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail   func(tools *toolsMaker, req aibridged.Request) (mcp.ServerProxier, error)
		is     error
		text   string
		closed []int // How often the tools of the failed build were closed.
		stack  bool  // The log has a stack.
	}{
		"error": {
			fail: func(*toolsMaker, aibridged.Request) (mcp.ServerProxier, error) { return nil, errBuild },
			is:   errBuild, text: "no tools today",
		},
		"error beside tools": {
			fail: func(tools *toolsMaker, req aibridged.Request) (mcp.ServerProxier, error) {
				return tools.add(req), errBuild
			},
			is: errBuild, text: "no tools today", closed: []int{1},
		},
		"error beside no tools of a type": {
			fail: func(*toolsMaker, aibridged.Request) (mcp.ServerProxier, error) {
				return (*toolSessions)(nil), errBuild
			},
			is: errBuild, text: "no tools today", stack: true,
		},
		"panic": {
			fail: func(*toolsMaker, aibridged.Request) (mcp.ServerProxier, error) { panic("boom") },
			text: "panic: boom", stack: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
				letGo := make(chan struct{})
				failing := builderFunc(func(_ context.Context, req aibridged.Request) (mcp.ServerProxier, error) {
					<-letGo
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
					if got.handler != nil || got.err == nil || !strings.Contains(got.err.Error(), test.text) {
						t.Errorf("acquired %v, error %v", got.handler, got.err)
					}
					if test.is != nil && !errors.Is(got.err, test.is) {
						t.Errorf("error %v is not the builder's", got.err)
					}
				}
				synctest.Wait()
				if got := pool.tools.closings(); !slices.Equal(got, test.closed) {
					t.Errorf("closings %v, want %v", got, test.closed)
				}
				if pool.log.has("stack") != test.stack {
					t.Errorf("a stack in the log: %t, want %t", !test.stack, test.stack)
				}
				pool.use(t, user(1)) // The next Acquire builds anew, and that bridge is kept.
				pool.use(t, user(1))
				pool.checkCounts(t, 9+1, 2, 2, 1)
				pool.checkClosed(t)
			})
		})
	}
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

// A build that hangs fails after five seconds.
func TestPoolBuildHasATimeLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
		builds := newHeldBuilds(pool)
		var got acquired
		took := after(func() { got = <-pool.acquireLater(t.Context(), builderFunc(builds.build)) })
		if !errors.Is(got.err, context.DeadlineExceeded) || took != 5*time.Second {
			t.Errorf("error %v after %s", got.err, took)
		}
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
