//go:build linux

package memorytest

import (
	"context"
	"flag"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Duration("for", 500*time.Millisecond, "how long each load lasts")
	flag.Duration("p99", time.Minute, "how long 99 in 100 small requests may take meanwhile, on a machine that does nothing else")
	goleak.VerifyTestMain(m)
}

// duration returns the value of a flag of this binary.
func duration(name string) time.Duration {
	return flag.Lookup(name).Value.(flag.Getter).Get().(time.Duration)
}

// processMemory is how much memory the program gets in these tests.
const processMemory = 1 << 30

// TestMemoryIsBounded is about a gateway that may use 1 GiB and gets many times that: 200 bodies of 20 MiB at once, and
// small coded bodies that become large ones. Small requests are served meanwhile as if nothing were the matter, every
// large one is answered, with 200 or 503, and the process lives.
func TestMemoryIsBounded(t *testing.T) {
	g := startConfined(t)
	for _, load := range []struct {
		name    string
		clients int
		coding  string
		body    body
	}{
		{"large bodies", 200, "", pictures(20 << 20)},
		{"large bodies without a length", 50, "", unknownLength(pictures(20 << 20))},
		{"gzip bombs", 20, "gzip", coded("gzip", history(31<<20))},
		{"zstd bombs", 20, "zstd", coded("zstd", history(31<<20))},
		{"many messages", 20, "gzip", coded("gzip", elements(31<<20))},
		{"many members", 20, "gzip", coded("gzip", members(31<<20))},
		{"wide windows", 100, "zstd", wideWindow()},
		{"large prompts", 200, "", prompts(20 << 20)}, // These are recorded whole.
	} {
		t.Run(load.name, func(t *testing.T) {
			statuses := g.besideOthers(t, func(ctx context.Context) map[int]int {
				return g.load(ctx, load.clients, load.body, load.coding)
			})
			t.Logf("statuses %v, %d MiB resident at most", statuses, g.peak(t)>>20)
			for status := range statuses {
				if status != http.StatusOK && status != http.StatusServiceUnavailable && status != http.StatusBadRequest {
					t.Errorf("status %d", status)
				}
			}
		})
	}
	if peak := g.peak(t); peak > processMemory {
		t.Errorf("%d MiB resident, of %d", peak>>20, processMemory>>20)
	}
}

// send sends one request, and returns the status of its answer, or 0 if there was none.
func (g *confined) send(ctx context.Context, body body, coding string) int {
	reader, length := body()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, reader)
	if err != nil {
		return 0
	}
	r.ContentLength = length
	r.Header.Set("Authorization", "Bearer "+g.token)
	if coding != "" {
		r.Header.Set("Content-Encoding", coding)
	}
	answer, err := g.client.Do(r)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

// load sends requests from a number of clients for a time. A client that is refused tries again after a second,
// as it is told. It returns how often each status came.
func (g *confined) load(ctx context.Context, clients int, body body, coding string) map[int]int {
	ctx, cancel := context.WithTimeout(ctx, duration("for"))
	defer cancel()
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for {
				status := g.send(ctx, body, coding)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				statuses[status]++
				mu.Unlock()
				pause := 50 * time.Millisecond
				if status != http.StatusOK {
					pause = time.Second
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(pause):
				}
			}
		})
	}
	all.Wait()
	return statuses
}

// besideOthers runs load while other clients send small requests, and checks that these are all served, and how fast.
func (g *confined) besideOthers(t *testing.T, load func(context.Context) map[int]int) map[int]int {
	t.Helper()
	small := func() (io.Reader, int64) {
		const body = `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hello"}]}`
		return strings.NewReader(body), int64(len(body))
	}
	var over atomic.Bool
	var mu sync.Mutex
	var took []time.Duration
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for !over.Load() {
				began := time.Now()
				status := g.send(t.Context(), small, "")
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
				if status != http.StatusOK {
					t.Errorf("a small request: status %d", status)
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	statuses := load(t.Context())
	over.Store(true)
	others.Wait()
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	t.Logf("%d small requests: median %v, p99 %v", len(took), took[len(took)/2], p99)
	if most := duration("p99"); p99 > most {
		t.Errorf("p99 of small requests is %v, may be %v", p99, most)
	}
	return statuses
}
