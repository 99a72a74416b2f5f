package lease_test

import (
	"context"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/lease"
)

// BenchmarkHit measures Acquire and use of a value that exists, with and without a context that would release it.
func BenchmarkHit(b *testing.B) {
	for name, watched := range map[string]bool{"alone": false, "released after a context": true} {
		b.Run(name, func(b *testing.B) {
			pool, err := lease.New[int, int](10, time.Hour)
			if err != nil {
				b.Fatal(err)
			}
			build := func(context.Context) (int, func(context.Context), error) { return 7, nil, nil }
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			l, _, err := pool.Acquire(ctx, 1, build)
			if err != nil {
				b.Fatal(err)
			}
			l.Release()
			b.ReportAllocs()
			b.RunParallel(func(each *testing.PB) {
				for each.Next() {
					l := pool.Get(1)
					if watched {
						l.ReleaseAfter(ctx)
					}
					if !l.Use(func(int) {}) {
						b.Error("not used")
						return
					}
				}
			})
			if err := pool.Shutdown(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
