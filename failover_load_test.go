package aibridged_test

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/testkit"
)

var failoverFor = flag.Duration("failover-for", 2*time.Second, "how long TestFailoverUnderLoad sends requests in each of its two parts")

// loadedUpstream is an upstream with two keys, of which the first has a limit that it reaches and recovers from. It counts
// how often each request was served.
type loadedUpstream struct {
	limited atomic.Int64 // Until when, in nanoseconds of Unix time.
	away    atomic.Bool  // Connections are refused, and those that there are break.

	mu     sync.Mutex
	served map[string]int // Guarded by mu: by the request's id, how often an answer began.
	keys   map[string]int // Guarded by mu: by key.
}

const (
	limitedKey = "key-with-a-limit-0123456789"
	healthyKey = "key-without-one-0123456789"
)

// ServeHTTP implements [http.Handler].
func (u *loadedUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if u.away.Load() {
		panic(http.ErrAbortHandler)
	}
	body, _ := io.ReadAll(r.Body)
	key := r.Header.Get("X-Api-Key")
	if wait := time.Until(time.Unix(0, u.limited.Load())); key == limitedKey && wait > 0 {
		w.Header().Set("Retry-After-Ms", strconv.FormatInt(wait.Milliseconds()+1, 10))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	_, id, _ := strings.Cut(string(body), `"content":"`)
	id, _, _ = strings.Cut(id, `"`)
	u.mu.Lock()
	u.served[id]++
	u.keys[key]++
	u.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	for _, piece := range strings.SplitAfter(loadedAnswer(id), "\n\n") {
		_, _ = io.WriteString(w, piece)
		_ = http.NewResponseController(w).Flush()
		if u.away.Load() {
			panic(http.ErrAbortHandler)
		}
	}
}

// limit makes the first key have a limit for a time, again and again until done is closed.
func (u *loadedUpstream) limit(done <-chan struct{}) {
	for {
		u.limited.Store(time.Now().Add(60 * time.Millisecond).UnixNano())
		select {
		case <-done:
			return
		case <-time.After(150 * time.Millisecond):
		}
	}
}

func loadedAnswer(id string) string {
	return "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_" + id + "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n" +
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n" +
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"" + id + "\"}}\n\n" +
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
}

// TestFailoverUnderLoad has 64 clients ask without a pause. First one of two keys reaches its limit and recovers, again and
// again: no client may notice. Then the upstream goes away and comes back: when it is back, all are served again. In
// neither case is a request served twice.
func TestFailoverUnderLoad(t *testing.T) {
	up := &loadedUpstream{served: map[string]int{}, keys: map[string]int{}}
	server := httptest.NewUnstartedServer(up)
	server.Config.ErrorLog = nil
	server.Start()
	t.Cleanup(server.Close)
	upstreams := aibridge.NewUpstreams()
	provider, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{
		BaseURL: server.URL, Upstreams: upstreams, Keys: []aibridge.Key{{Secret: limitedKey}, {Secret: healthyKey}},
		Breaker:   aibridge.BreakerOptions{Failures: 20, Window: time.Second, Open: 100 * time.Millisecond},
		Transport: awayTransport{&http.Transport{MaxIdleConnsPerHost: 64}, &up.away},
	})
	if err != nil {
		t.Fatal(err)
	}
	g := testkit.NewGateway(t, server.URL, testkit.GatewayOptions{Provider: []aibridge.Provider{provider}})
	client := testkit.NewClient(t)
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 64

	var asked atomic.Int64
	ask := func() (status int, whole bool) {
		id := fmt.Sprint("request-", asked.Add(1))
		r := g.Request(t, http.MethodPost, "/anthropic/v1/messages", `{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"`+id+`"}]}`)
		response, err := client.Do(r)
		if err != nil {
			return 0, false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return response.StatusCode, err == nil && (response.StatusCode != http.StatusOK || string(body) == loadedAnswer(id))
	}
	load := func(check func(status int, whole bool)) {
		var clients sync.WaitGroup
		until := time.Now().Add(*failoverFor)
		for range 64 {
			clients.Go(func() {
				for time.Now().Before(until) {
					check(ask())
				}
			})
		}
		clients.Wait()
	}

	done, limiting := make(chan struct{}), sync.WaitGroup{}
	limiting.Go(func() { up.limit(done) })
	load(func(status int, whole bool) {
		if status != http.StatusOK || !whole {
			t.Errorf("status %d, whole: %t, though one key is healthy", status, whole)
		}
	})
	close(done)
	limiting.Wait()
	if up.keys[limitedKey] < 10 || up.keys[healthyKey] < 10 {
		t.Errorf("the keys served %v", up.keys)
	}

	var refused, failed atomic.Int64
	limiting.Go(func() {
		time.Sleep(*failoverFor / 4)
		up.away.Store(true)
		time.Sleep(*failoverFor / 4)
		up.away.Store(false)
	})
	load(func(status int, whole bool) {
		switch {
		case status == http.StatusServiceUnavailable && whole:
			refused.Add(1)
			time.Sleep(10 * time.Millisecond) // A client that waits less than it is told.
		case status != http.StatusOK || !whole:
			failed.Add(1)
		}
	})
	limiting.Wait()
	if refused.Load() == 0 || failed.Load() < 20 {
		t.Errorf("while the upstream was away, %d requests failed and %d were refused", failed.Load(), refused.Load())
	}
	for range 20 {
		if status, whole := ask(); status != http.StatusOK || !whole {
			t.Errorf("when the upstream is back: status %d, whole: %t", status, whole)
		}
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	for id, n := range up.served {
		if n != 1 {
			t.Errorf("%s was served %d times", id, n)
		}
	}
	for _, key := range upstreams.Keys() {
		if key.State != "ready" {
			t.Errorf("at the end, key %s is %s", key.Hint, key.State)
		}
	}
}

// awayTransport fails to connect while the upstream is away.
type awayTransport struct {
	*http.Transport

	away *atomic.Bool
}

func (a awayTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.away.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: net.ErrClosed}
	}
	return a.Transport.RoundTrip(r)
}
