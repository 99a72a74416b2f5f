package aibridged_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
)

func TestNewPoolRefuses(t *testing.T) {
	t.Parallel()
	twins := []aibridge.Provider{provider(t, "one"), provider(t, "two")}
	for name, test := range map[string]struct {
		options   aibridged.PoolOptions
		providers []aibridge.Provider
		tracer    trace.Tracer
		want      string
	}{
		"negative size":    {aibridged.PoolOptions{MaxItems: -1}, nil, noTracer(), "MaxItems -1"},
		"negative time":    {aibridged.PoolOptions{TTL: -time.Second}, nil, noTracer(), "TTL -1s"},
		"no tracer":        {aibridged.PoolOptions{}, nil, nil, "nil tracer"},
		"a name twice":     {aibridged.PoolOptions{}, twins, noTracer(), `two providers are named "anthropic"`},
		"a provider is no": {aibridged.PoolOptions{}, []aibridge.Provider{{}}, noTracer(), "without a name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, err := aibridged.NewCachedBridgePool(test.options, test.providers, slog.Logger{}, nil, test.tracer)
			if pool != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v and error %v, want one with %q", pool, err, test.want)
			}
		})
	}
}

// One bridge per initiator and API key, and a delegated request is never served with a bridge that holds a session key.
func TestPoolKey(t *testing.T) {
	t.Parallel()
	first := aibridged.Request{SessionKey: "secret", APIKeyID: "key", InitiatorID: uuid.UUID{1}}
	for name, test := range map[string]struct {
		second aibridged.Request
		shared bool
	}{
		"the same":        {first, true},
		"other initiator": {aibridged.Request{SessionKey: "secret", APIKeyID: "key", InitiatorID: uuid.UUID{2}}, false},
		"other key":       {aibridged.Request{SessionKey: "secret", APIKeyID: "other", InitiatorID: uuid.UUID{1}}, false},
		"delegated":       {aibridged.Request{APIKeyID: "key", InitiatorID: uuid.UUID{1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
				pool.use(t, first)
				pool.use(t, test.second)
				pool.use(t, first)

				built := []aibridged.Request{first}
				if !test.shared {
					built = append(built, test.second)
				}
				var got []aibridged.Request
				for _, tools := range pool.tools.all() {
					got = append(got, tools.of)
				}
				if !slices.Equal(got, built) {
					t.Errorf("built for %v, want %v", got, built)
				}
				n := uint64(len(built))
				pool.checkCounts(t, 3-n, n, n, 0)
				pool.checkClosed(t)
				pool.checkCounts(t, 3-n, n, n, n)
			})
		})
	}
}

// A bridge records under the API key that it was acquired with, also beside a bridge for another key of the same
// initiator.
func TestPoolRecordsTheKeyOfTheBridge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := newStreamUpstream()
		pool := newPool(t, aibridged.PoolOptions{}, providerAt(t, "one", upstream.RoundTrip))
		want := []string{"mine", "other", "mine"}
		for _, id := range want {
			req := aibridged.Request{SessionKey: "secret", APIKeyID: id, InitiatorID: uuid.UUID{1}}
			startStream(t, pool.acquire(t, req), upstream).finish(t)
		}
		if got := pool.control.keyIDs(); !slices.Equal(got, want) {
			t.Errorf("recorded under %v, want %v", got, want)
		}
		pool.checkClosed(t)
	})
}

// A bridge is kept for the TTL, however much it is used. Then it is closed, even if nobody asks for it again.
func TestPoolTTL(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given, want time.Duration
	}{
		"default": {0, 15 * time.Minute},
		"given":   {time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pool := newPool(t, aibridged.PoolOptions{TTL: test.given}, provider(t, "one"))
				pool.use(t, user(1))
				time.Sleep(test.want - time.Nanosecond)
				pool.use(t, user(1))
				if got := pool.tools.closings(); !slices.Equal(got, []int{0}) {
					t.Fatalf("before the end of the TTL: closings %v", got)
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if got := pool.tools.closings(); !slices.Equal(got, []int{1}) {
					t.Errorf("at the end of the TTL: closings %v", got)
				}
				pool.checkCounts(t, 1, 1, 1, 1)
				pool.use(t, user(1))
				pool.checkCounts(t, 1, 2, 2, 1)
				pool.checkClosed(t)
			})
		})
	}
}

func TestPoolEvictsTheLeastRecentlyUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, aibridged.PoolOptions{MaxItems: 3}, provider(t, "one"))
		for _, number := range []byte{1, 2, 3, 1, 4} {
			pool.use(t, user(number))
		}
		synctest.Wait()
		if got := pool.tools.closings(); !slices.Equal(got, []int{0, 1, 0, 0}) {
			t.Errorf("closings %v, want user 2's tools closed", got)
		}
		pool.checkCounts(t, 1, 4, 4, 1)
		pool.checkClosed(t)
	})
}

// The pool keeps 5,000 users; one more evicts the least recently used one and no other.
func TestFault107FiveThousandUsersAndOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
		number := func(i int) aibridged.Request {
			return aibridged.Request{SessionKey: "secret", APIKeyID: "key", InitiatorID: uuid.UUID{byte(i >> 8), byte(i)}}
		}
		const users = 5000
		for i := range users {
			pool.use(t, number(i))
		}
		pool.use(t, number(0))
		pool.checkCounts(t, 1, users, users, 0)

		pool.use(t, number(users))
		synctest.Wait()
		for i, n := range pool.tools.closings() {
			if want := map[int]int{1: 1}[i]; n != want {
				t.Errorf("the tools of user %d were closed %d times, want %d", i, n, want)
			}
		}
		pool.checkClosed(t)
		pool.checkCounts(t, 1, users+1, users+1, users+1)
	})
}

// Every path below a disabled provider answers that it is disabled.
func TestPoolServesDisabledProviders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disabled, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{Disabled: true})
		if err != nil {
			t.Fatal(err)
		}
		pool := newPool(t, aibridged.PoolOptions{}, provider(t, "one"))
		pool.ReplaceProviders([]aibridge.Provider{disabled})
		for _, path := range []string{"/anthropic/v1/messages", "/anthropic/v1/models", "/anthropic/nothing"} {
			w := httptest.NewRecorder()
			pool.acquire(t, user(1)).ServeHTTP(w, newActing(t.Context(), http.MethodPost, path, "{}"))
			const want = `provider_disabled: AI provider "anthropic" is disabled`
			if w.Code != http.StatusServiceUnavailable || !strings.Contains(strings.ReplaceAll(w.Body.String(), `\"`, `"`), want) {
				t.Errorf("%s: status %d, body %s", path, w.Code, w.Body)
			}
		}
		pool.checkClosed(t)
	})
}

// A span says whether an Acquire was a hit or a miss, and the build after a miss is traced below it.
func TestPoolSpans(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		recorder := tracetest.NewSpanRecorder()
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
		pool, err := aibridged.NewCachedBridgePool(aibridged.PoolOptions{}, nil, slog.Logger{}, nil, tracer)
		if err != nil {
			t.Fatal(err)
		}
		var builder trace.SpanContext
		builders := builderFunc(func(ctx context.Context, _ aibridged.Request) (mcp.ServerProxier, error) {
			builder = trace.SpanContextFromContext(ctx)
			return nil, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			if _, err := pool.Acquire(ctx, user(1), nil, builders); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		var events []string
		for _, span := range recorder.Ended() {
			for _, event := range span.Events() {
				events = append(events, span.Name()+" "+event.Name)
			}
		}
		if want := []string{"CachedBridgePool.Acquire cache_miss", "CachedBridgePool.Acquire cache_hit"}; !slices.Equal(events, want) {
			t.Errorf("spans %v, want %v", events, want)
		}
		if first := recorder.Ended()[0].SpanContext(); builder.SpanID() != first.SpanID() {
			t.Errorf("the build belongs to span %s, want %s", builder.SpanID(), first.SpanID())
		}
		if err := pool.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
