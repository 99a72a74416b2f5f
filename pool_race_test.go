package aibridged_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// Shutdown races with everything else, 10,000 times: each handler that was acquired is served, and when Shutdown
// returns, each bridge that was built has been closed once. The race detector makes this test stricter.
func TestFault112ShutdownRaces(t *testing.T) {
	t.Parallel()
	const rounds = 10_000
	providers := []aibridge.Provider{provider(t, "one")}
	for range rounds {
		raceShutdown(t, providers)
		if t.Failed() {
			return
		}
	}
}

func raceShutdown(t *testing.T, providers []aibridge.Provider) {
	// Two users in a pool that keeps one bridge, so that bridges are evicted too.
	pool := newPool(t, aibridged.PoolOptions{MaxItems: 1}, providers...)
	var racing sync.WaitGroup
	for number := range byte(2) {
		racing.Go(func() {
			handler, err := pool.Acquire(t.Context(), user(number), pool.client, pool.tools)
			if err == nil {
				served200(t, handler)
			}
		})
	}
	ctx, giveUp := context.WithCancel(t.Context())
	racing.Go(func() {
		_, _ = pool.Acquire(ctx, user(0), pool.client, pool.tools) // Not served, where it succeeds.
	})
	racing.Go(giveUp)
	failing := builderFunc(func(_ context.Context, req aibridged.Request) (mcp.ServerProxier, error) {
		return pool.tools.add(req), errBuild // Its tools are tried again until the shutdown.
	})
	racing.Go(func() {
		if handler, err := pool.Acquire(t.Context(), user(2), pool.client, failing); err == nil {
			served200(t, handler)
		}
	})
	racing.Go(func() { pool.ReplaceProviders(providers) })
	racing.Go(func() { pool.checkClosed(t) })
	racing.Go(func() { pool.checkClosed(t) })
	racing.Wait()
}

// The shutdown of a whole server races with its dial, with requests, with a reload and with another shutdown. Each request
// is served or refused, no client is used after the end, and the leak check of this package finds nothing left.
func TestFault112ServerShutdownRaces(t *testing.T) {
	t.Parallel()
	const rounds = 10_000
	providers := []aibridge.Provider{provider(t, "one")}
	for round := range rounds {
		raceServerShutdown(t, providers, round)
		if t.Failed() {
			return
		}
	}
}

func raceServerShutdown(t *testing.T, providers []aibridge.Provider, round int) {
	pool, err := aibridged.NewCachedBridgePool(aibridged.PoolOptions{}, providers, slog.Logger{}, nil, noTracer())
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool // A shutdown has returned.
	control := &testkit.ControlPlane{Authorize: func(context.Context, *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
		if down.Load() {
			t.Error("asked after the end")
		}
		return &proto.IsAuthorizedResponse{OwnerId: testkit.OwnerID, ApiKeyId: testkit.APIKeyID}, nil
	}}
	dial := controlplane.InProcess(control)
	server, err := aibridged.New(t.Context(), pool, func(ctx context.Context) (aibridged.DRPCClient, error) {
		if round%2 == 0 {
			runtime.Gosched()
		}
		return dial(ctx)
	}, slog.Logger{}, noTracer())
	if err != nil {
		t.Fatal(err)
	}
	var racing sync.WaitGroup
	for range 2 {
		racing.Go(func() {
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/anthropic/v1/models", nil)
			r.Header.Set("X-Api-Key", testkit.Token)
			server.ServeHTTP(w, r)
			if w.Code != http.StatusOK && w.Code != http.StatusServiceUnavailable {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		})
		racing.Go(func() {
			if err := server.Shutdown(t.Context()); err != nil {
				t.Errorf("shut down: %v", err)
			}
			down.Store(true)
		})
	}
	racing.Go(func() { pool.ReplaceProviders(providers) })
	racing.Wait()
}
