package crashtest

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"testing"
	"time"
)

// chance is the source of everything random in a test.
type chance struct {
	seed uint64
	test string
}

func newChance(t *testing.T) chance {
	c := chance{option[uint64]("seed"), t.Name()}
	for c.seed == 0 {
		c.seed = rand.Uint64()
	}
	t.Logf("-seed=%d", c.seed)
	return c
}

// of returns the random source for one actor of a test. Only one goroutine may use it.
func (c chance) of(actor string) *rand.Rand {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(c.test + " " + actor))
	return rand.New(rand.NewPCG(c.seed, hash.Sum64()))
}

// upTo returns a random duration from zero to longest.
func upTo(rng *rand.Rand, longest time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(longest) + 1))
}

// between returns a random duration from shortest to longest.
func between(rng *rand.Rand, shortest, longest time.Duration) time.Duration {
	return shortest + upTo(rng, longest-shortest)
}

// pause waits, and reports whether ctx still lasts afterwards.
func pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
