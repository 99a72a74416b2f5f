package aibridged_test

import (
	"context"
	"net/http"
	"runtime"
	"testing"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
)

// BenchmarkPoolIdleBridges fills a pool with the bridges of 5,000 users and reports the memory and the goroutines that
// one idle bridge holds.
func BenchmarkPoolIdleBridges(b *testing.B) {
	const users = 5000
	for name, builder := range map[string]builderFunc{
		"without tools": func(context.Context, aibridged.Request) (mcp.ServerProxier, error) {
			return nil, nil
		},
		"without MCP servers": func(context.Context, aibridged.Request) (mcp.ServerProxier, error) {
			return mcp.NewManager(nil, mcp.ManagerOptions{}), nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			var bytes, goroutines float64
			for b.Loop() {
				pool := benchmarkPool(b)
				bytesBefore, goroutinesBefore := inUse()
				for i := range users {
					acquireAndServe(b, pool, nowhere(), builder, uuid.UUID{byte(i >> 8), byte(i)})
				}
				bytesAfter, goroutinesAfter := inUse()
				bytes += (bytesAfter - bytesBefore) / users
				goroutines += (goroutinesAfter - goroutinesBefore) / users
				if err := pool.Shutdown(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(bytes/float64(b.N), "B/bridge")
			b.ReportMetric(goroutines/float64(b.N), "goroutines/bridge")
		})
	}
}

// BenchmarkPoolAcquire measures what a pool adds to a request whose bridge exists.
func BenchmarkPoolAcquire(b *testing.B) {
	pool := benchmarkPool(b)
	b.ReportAllocs()
	b.RunParallel(func(each *testing.PB) {
		request := nowhere()
		for each.Next() {
			acquireAndServe(b, pool, request, nil, uuid.UUID{1})
		}
	})
	if err := pool.Shutdown(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func benchmarkPool(b *testing.B) *aibridged.CachedBridgePool {
	b.Helper()
	pool, err := aibridged.NewCachedBridgePool(
		aibridged.PoolOptions{}, []aibridge.Provider{provider(b, "one")}, slog.Logger{}, nil, noTracer())
	if err != nil {
		b.Fatal(err)
	}
	return pool
}

// nowhere returns the cheapest request for a bridge: one for an unknown provider.
func nowhere() *http.Request { return newActing(context.Background(), http.MethodGet, "/nowhere", "") }

func acquireAndServe(b *testing.B, pool aibridged.Pooler, request *http.Request, builder builderFunc, initiator uuid.UUID) {
	var tools aibridged.MCPProxyBuilder
	if builder != nil {
		tools = builder
	}
	req := aibridged.Request{SessionKey: "secret", APIKeyID: "key", InitiatorID: initiator}
	handler, err := pool.Acquire(b.Context(), req, nil, tools)
	if err != nil {
		b.Error(err)
		return
	}
	w := statusOnly{header: http.Header{}}
	handler.ServeHTTP(&w, request)
	if w.status != http.StatusNotFound {
		b.Errorf("status %d", w.status)
	}
}

// statusOnly is a ResponseWriter that keeps only the status.
type statusOnly struct {
	header http.Header
	status int
}

func (w *statusOnly) Header() http.Header         { return w.header }
func (w *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
func (w *statusOnly) WriteHeader(status int)      { w.status = status }

// inUse returns the bytes of the heap in use and the number of goroutines.
func inUse() (bytes, goroutines float64) {
	runtime.GC()
	runtime.GC() // What sync.Pools hold survives one collection.
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc), float64(runtime.NumGoroutine())
}
