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

// TestMemoryIsBounded is about a gateway that may use 1 GiB and gets many times that: 200 bodies of 20 MiB at once, and
// small coded bodies that become large ones. Small requests are served meanwhile as if nothing were the matter, every
// large one is answered, with 200 or 503, and the process lives.
func TestMemoryIsBounded(t *testing.T) {
	g := startConfined(t, 1<<30)
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
	g.checkPeak(t)
}

// TestFault114StreamsAndBodies is about a gateway that may use 256 MiB, has 1,000 slow streams, and gets bodies of 10 MB: the
// streams go on to their end.
func TestFault114StreamsAndBodies(t *testing.T) {
	g := startConfined(t, 256<<20)
	streams := make([]*http.Response, 1000)
	var opening sync.WaitGroup
	for at := range 50 {
		opening.Go(func() {
			for i := at; i < len(streams); i += 50 {
				streams[i] = g.stream(t)
			}
		})
	}
	opening.Wait()
	for _, load := range []struct {
		name   string
		coding string
		body   body
	}{
		{"bodies of 10 MiB", "", pictures(10 << 20)},
		{"prompts of 10 MiB", "", prompts(10 << 20)}, // These are recorded whole.
		{"bombs of 10 MiB", "gzip", coded("gzip", prompts(10<<20))},
		{"bombs of 31 MiB", "gzip", coded("gzip", prompts(31<<20))},
	} {
		statuses := g.besideOthers(t, func(ctx context.Context) map[int]int { return g.load(ctx, 50, load.body, load.coding) })
		t.Logf("%s: statuses %v, %d MiB resident at most", load.name, statuses, g.peak(t)>>20)
		isServed := statuses[http.StatusOK] > 0
		if tooLarge := statuses[http.StatusRequestEntityTooLarge] > 0; duration("for") > time.Second && !isServed && !tooLarge {
			t.Errorf("%s: none was served", load.name)
		}
	}
	g.endStreams()
	for i, stream := range streams {
		if stream == nil {
			t.Fatalf("stream %d did not begin", i)
		}
		text, err := io.ReadAll(stream.Body)
		stream.Body.Close()
		if err != nil || !strings.Contains(string(text), "message_stop") {
			t.Fatalf("stream %d: %v after %d bytes", i, err, len(text))
		}
	}
	g.checkPeak(t)
}

// checkPeak checks that the process has lived within its memory.
func (g *confined) checkPeak(t *testing.T) {
	t.Helper()
	if peak := g.peak(t); peak > g.memory {
		t.Errorf("%d MiB resident, of %d", peak>>20, g.memory>>20)
	}
}

// stream begins a stream, and returns it after its first event.
func (g *confined) stream(t *testing.T) *http.Response {
	const body = `{"model":"m","max_tokens":1,"stream":true,"messages":[{"role":"user","content":"hello"}]}`
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url, strings.NewReader(body))
	if err != nil {
		return nil
	}
	r.Header.Set("Authorization", "Bearer "+g.token)
	answer, err := g.client.Do(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("a stream: %v, %v", answer, err)
		return nil
	}
	if _, err := answer.Body.Read(make([]byte, 1)); err != nil {
		t.Errorf("a stream: %v", err)
	}
	return answer
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
