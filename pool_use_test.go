package aibridged_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
)

// Whatever happens to a bridge, its running streams end well, and its tools are closed once, after the last of the
// streams.
func TestFault104BridgeLeavesWhileStreaming(t *testing.T) {
	t.Parallel()
	const ttl = time.Hour
	for name, leave := range map[string]func(t *testing.T, pool *poolUnderTest){
		"evicted": func(t *testing.T, pool *poolUnderTest) { pool.touch(t, user(2)) },
		"expired": func(*testing.T, *poolUnderTest) { time.Sleep(ttl) },
		"providers replaced": func(t *testing.T, pool *poolUnderTest) {
			pool.ReplaceProviders([]aibridge.Provider{provider(t, "new")})
		},
		"all at once": func(t *testing.T, pool *poolUnderTest) {
			time.Sleep(ttl)
			pool.touch(t, user(2))
			pool.ReplaceProviders([]aibridge.Provider{provider(t, "new")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				upstream := newStreamUpstream()
				// The idle limit is not under test here, so it is set beyond the test's silence.
				streaming, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{
					BaseURL: "http://upstream.invalid", Key: "key", Transport: upstream, Limits: aibridge.Limits{Idle: 2 * ttl},
				})
				if err != nil {
					t.Fatal(err)
				}
				pool := newPool(t, aibridged.PoolOptions{MaxItems: 1, TTL: ttl}, streaming)
				first := startStream(t, pool.acquire(t, user(1)), upstream)
				second := startStream(t, pool.acquire(t, user(1)), upstream)
				tools := pool.tools.all()[0]

				leave(t, pool)
				if !first.running() || !second.running() || tools.closings() != 0 {
					t.Fatalf("streams run: %t, %t; tools closed %d times", first.running(), second.running(), tools.closings())
				}
				first.finish(t)
				synctest.Wait()
				if tools.closings() != 0 {
					t.Error("the tools were closed while the second stream ran")
				}
				second.finish(t)
				synctest.Wait()
				if tools.closings() != 1 {
					t.Errorf("after the last stream: tools closed %d times", tools.closings())
				}
				pool.checkClosed(t)
			})
		})
	}
}

// A host may acquire with one context and serve with another: the end of the first does not touch the stream.
func TestPoolStreamOutlivesItsAcquire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := newStreamUpstream()
		pool := newPool(t, aibridged.PoolOptions{}, providerAt(t, "one", upstream.RoundTrip))
		ctx, cancel := context.WithCancel(t.Context())
		handler, err := pool.Acquire(ctx, user(1), pool.client, pool.tools)
		if err != nil {
			t.Fatal(err)
		}
		running := startStream(t, handler, upstream)
		cancel()
		pool.ReplaceProviders([]aibridge.Provider{provider(t, "new")})
		synctest.Wait()
		if got := pool.tools.closings(); !slices.Equal(got, []int{0}) {
			t.Errorf("closings %v while the stream runs", got)
		}
		running.finish(t)
		synctest.Wait()
		if got := pool.tools.closings(); !slices.Equal(got, []int{1}) {
			t.Errorf("closings %v after the stream", got)
		}
		pool.checkClosed(t)
	})
}

// A stream goes on with the key that it began with; requests after a change of keys use the new one.
func TestFault109KeyIsRotated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := newStreamUpstream()
		pool := newPool(t, aibridged.PoolOptions{}, providerAt(t, "old", upstream.RoundTrip))
		before := startStream(t, pool.acquire(t, user(1)), upstream)
		pool.ReplaceProviders([]aibridge.Provider{providerAt(t, "new", upstream.RoundTrip)})
		afterwards := startStream(t, pool.acquire(t, user(1)), upstream)
		before.finish(t)
		afterwards.finish(t)
		if before.key != "key-of-old" || afterwards.key != "key-of-new" {
			t.Errorf("keys %q and %q", before.key, afterwards.key)
		}
		pool.checkClosed(t)
	})
}

// A handler that is never served is released when its context ends. Used after that, when its bridge is closed, it
// answers with an error in the shape of the API that was called.
func TestPoolHandlerIsNeverServed(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/anthropic/v1/messages":      `{"type":"error","error":{"type":"overloaded_error","message":"failed to acquire request handler"}}`,
		"/openai/v1/chat/completions": `{"error":{"message":"failed to acquire request handler","type":"server_error","param":null,"code":null}}`,
		"/anthropic/v1/else":          "failed to acquire request handler",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
				ctx, cancel := context.WithCancel(t.Context())
				handler, err := pool.Acquire(ctx, user(1), pool.client, pool.tools)
				if err != nil {
					t.Fatal(err)
				}
				pool.ReplaceProviders([]aibridge.Provider{provider(t, "new")})
				synctest.Wait()
				if got := pool.tools.closings(); !slices.Equal(got, []int{0}) {
					t.Errorf("closings %v before the handler's context has ended", got)
				}
				cancel()
				synctest.Wait()
				if got := pool.tools.closings(); !slices.Equal(got, []int{1}) {
					t.Errorf("closings %v after it", got)
				}
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, newActing(t.Context(), http.MethodPost, path, "{}"))
				if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusServiceUnavailable || got != want {
					t.Errorf("status %d, body %s", w.Code, got)
				}
				if w.Header().Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
				pool.checkClosed(t)
			})
		})
	}
}

// A request that the bridge aborts releases the bridge like any other.
func TestPoolRequestIsAborted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := newStreamUpstream()
		pool := newPool(t, aibridged.PoolOptions{}, providerAt(t, "one", upstream.RoundTrip))
		handler := pool.acquire(t, user(1))
		aborted := make(chan any, 1)
		running := startStream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { aborted <- recover() }()
			ctx := context.WithValue(r.Context(), http.ServerContextKey, &http.Server{})
			handler.ServeHTTP(w, r.WithContext(ctx))
		}), upstream)
		running.upstream.CloseWithError(errors.New("connection reset"))
		if reason := <-aborted; reason != http.ErrAbortHandler {
			t.Errorf("the handler ended with %v", reason)
		}
		pool.checkClosed(t)
	})
}

func TestPoolShutdownWaitsForRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := newStreamUpstream()
		pool := newPool(t, aibridged.PoolOptions{}, providerAt(t, "one", upstream.RoundTrip))
		running := startStream(t, pool.acquire(t, user(1)), upstream)
		const callers = 10
		down := make(chan error, callers)
		for range callers {
			go func() { down <- pool.Shutdown(t.Context()) }()
		}
		if !running.running() || len(down) != 0 {
			t.Fatalf("%d shutdowns returned while a request ran", len(down))
		}
		if got := pool.tools.closings(); !slices.Equal(got, []int{0}) {
			t.Errorf("closings %v while a request runs", got)
		}
		if _, err := pool.Acquire(t.Context(), user(1), pool.client, pool.tools); err == nil {
			t.Error("an Acquire while the pool shuts down succeeded")
		}
		pool.ReplaceProviders([]aibridge.Provider{provider(t, "new")})
		running.finish(t)
		for range callers {
			if err := <-down; err != nil {
				t.Errorf("shut down: %v", err)
			}
		}
		pool.checkClosed(t) // A second call changes nothing.
		if _, err := pool.Acquire(t.Context(), user(1), pool.client, pool.tools); err == nil {
			t.Error("an Acquire after the shutdown succeeded")
		}
		pool.ReplaceProviders([]aibridge.Provider{{}, {}})
		pool.checkCounts(t, 0, 1, 1, 1)
	})
}

// When ctx ends first, Shutdown fails at once. The last request still closes its bridge.
func TestPoolShutdownLosesPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := newStreamUpstream()
		pool := newPool(t, aibridged.PoolOptions{}, providerAt(t, "one", upstream.RoundTrip))
		running := startStream(t, pool.acquire(t, user(1)), upstream)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var err error
		took := after(func() { err = pool.Shutdown(ctx) })
		if !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("error %v after %s", err, took)
		}
		if !running.running() {
			t.Error("the stream was ended")
		}
		running.finish(t)
		pool.checkClosed(t)
	})
}

// When ctx ends first, Shutdown cancels a running build too.
func TestPoolShutdownLosesPatienceWithABuild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
		builds := newHeldBuilds(pool)
		waiting := pool.acquireLater(t.Context(), builderFunc(builds.build))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		took := after(func() {
			if err := pool.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			if got := <-waiting; !errors.Is(got.err, context.Canceled) {
				t.Errorf("the caller of the build has error %v", got.err)
			}
		})
		if took != time.Second/2 {
			t.Errorf("it took %s", took)
		}
		pool.checkClosed(t)
	})
}

// A pool without bridges shuts down even with a context that has ended.
func TestPoolShutdownWithoutTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 {
			pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
			if err := pool.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Shutdown waits up to five seconds for tools that close slowly, and does not fail where tools fail to close or panic.
func TestPoolShutdownWithBadTools(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		close func(ctx context.Context) error
		took  time.Duration
		stack bool
	}{
		"slow": {func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, 5 * time.Second, false},
		"failing":   {func(context.Context) error { return errors.New("no farewell") }, 0, false},
		"panicking": {func(context.Context) error { panic("boom") }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
				pool.use(t, user(1))
				pool.tools.all()[0].close = test.close
				if took := after(func() { pool.checkClosed(t) }); took != test.took {
					t.Errorf("it took %s, want %s", took, test.took)
				}
				if got := pool.log.messages(slog.LevelWarn); len(got) != 1 || pool.log.has("stack") != test.stack {
					t.Errorf("warnings %v, a stack: %t", got, pool.log.has("stack"))
				}
			})
		})
	}
}

// A handler that was acquired for ever and never used does not hold up Shutdown for ever, nor does one whose bridge has
// left the pool. It then answers 503.
func TestPoolShutdownWithUnusedHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
		var handlers []http.Handler
		for number := range byte(3) {
			handler, err := pool.Acquire(context.Background(), user(number), pool.client, pool.tools)
			if err != nil {
				t.Fatal(err)
			}
			handlers = append(handlers, handler)
			pool.ReplaceProviders([]aibridge.Provider{provider(t, "new")})
		}
		took := after(func() {
			if err := pool.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		if took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		for _, handler := range handlers {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, newActing(t.Context(), http.MethodGet, "/anthropic/v1/models", ""))
			if w.Code != http.StatusServiceUnavailable {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		}
		pool.checkClosed(t)
	})
}
