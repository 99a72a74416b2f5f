package aibridged_test

import (
	"context"
	"sync"
	"testing"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
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
	racing.Go(func() { pool.ReplaceProviders(providers) })
	racing.Go(func() { pool.checkClosed(t) })
	racing.Go(func() { pool.checkClosed(t) })
	racing.Wait()
}
