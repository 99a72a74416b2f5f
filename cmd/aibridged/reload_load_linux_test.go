package main

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/fakellm"
)

// inUse is what a process uses.
type inUse struct {
	goroutines, descriptors int
	heap                    uint64
}

func (u inUse) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB", u.goroutines, u.descriptors, u.heap>>10)
}

func usedNow(t *testing.T) inUse {
	t.Helper()
	runtime.GC()
	runtime.GC() // What finalizers have let go.
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return inUse{runtime.NumGoroutine(), len(descriptors), memory.HeapAlloc}
}

// TestReloadUnderLoad changes providers two hundred times while 64 streams run: no request fails, no stream is cut, what is
// known of a key is kept, and nothing is left behind.
func TestReloadUnderLoad(t *testing.T) {
	changes := 200
	if testing.Short() {
		changes = 40
	}
	const streams = 64
	t.Setenv("TEST_KEY", "a-key-of-no-account")
	t.Setenv("TEST_REFUSED", "a-key-that-is-refused")
	var refused atomic.Int64
	script := fakellm.New(fakellm.Options{})
	llm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") == "a-key-that-is-refused" {
			refused.Add(1)
			w.WriteHeader(http.StatusPaymentRequired) // The key rests for ten minutes.
			return
		}
		script.ServeHTTP(w, r)
	}))
	defer llm.Close()
	g, err := newGateway(t.Context(), settings{dataDir: t.TempDir()}, config{Providers: []providerConfig{
		{Name: "anthropic", Type: "anthropic", BaseURL: llm.URL, Keys: []keyConfig{{Key: "${TEST_REFUSED}"}, {Key: "${TEST_KEY}"}}},
	}}, gatewayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	g.plane.changes.close() // The test reloads by itself, so that no two changes become one reload.
	g.stopLoads()
	front := httptest.NewServer(g.http.Handler)
	defer front.Close()
	token, _, err := g.plane.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: streams}}
	stream := func() {
		body := `{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"[[text: one two three four]] [[silence: 20ms after=3]]"}]}`
		request, err := http.NewRequest(http.MethodPost, front.URL+"/anthropic/v1/messages", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		request.Header.Set("X-Api-Key", token)
		response, err := client.Do(request)
		if err != nil {
			t.Error(err)
			return
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(text), "message_stop") {
			t.Errorf("%d %v: %.200s", response.StatusCode, err, text)
		}
	}
	var sent atomic.Int64
	run := func(until <-chan struct{}) (wait func()) {
		var running sync.WaitGroup
		for range streams {
			running.Go(func() {
				for more := true; more; {
					stream()
					sent.Add(1)
					select {
					case <-until:
						more = false
					default:
					}
				}
			})
		}
		return running.Wait
	}
	settle := func() { // Lets go of connections that no request uses.
		client.CloseIdleConnections()
		if err := g.providers.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
	once := make(chan struct{})
	close(once)
	run(once)()
	openAllReaders(t, g.plane.db.Reader)
	settle()
	time.Sleep(300 * time.Millisecond)
	before, asked := usedNow(t), refused.Load() // The first streams began before it was known.

	done := make(chan struct{})
	wait := run(done)
	for i := range changes {
		change(t, g, i, llm.URL)
		if err := g.providers.Reload(t.Context()); err != nil {
			t.Errorf("reload %d: %v", i, err)
		}
	}
	close(done)
	wait()
	t.Logf("%d streams while there were %d changes", sent.Load(), changes)
	if got := refused.Load(); got != asked {
		t.Errorf("the key that is refused was asked %d times more", got-asked)
	}
	for _, p := range g.live() {
		if p.Name == "anthropic" && (len(p.Keys) != 2 || p.Keys[0].State != "dead" || p.Keys[1].State != "ready") {
			t.Errorf("keys %+v", p.Keys)
		}
	}
	if keys := g.upstreams.Keys(); len(keys) != 2 {
		t.Errorf("of keys that are gone is left: %+v", keys)
	}
	settle()
	var after inUse
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		after = usedNow(t)
		if after.goroutines <= before.goroutines+4 && after.descriptors <= before.descriptors+4 && after.heap <= before.heap+4<<20 {
			t.Logf("before: %v, after: %v", before, after)
			return
		}
	}
	t.Errorf("before: %v, after: %v", before, after)
}

// openAllReaders opens all connections to the database that there can be: these stay.
func openAllReaders(t *testing.T, readers *sql.DB) {
	t.Helper()
	for range readers.Stats().MaxOpenConnections {
		conn, err := readers.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var n int
		if err := conn.QueryRowContext(t.Context(), `SELECT count(*) FROM providers`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}

// change makes the change of a number: to the provider that serves, and to others that come and go, good ones and bad ones.
func change(t *testing.T, g *gateway, number int, upstream string) {
	t.Helper()
	var err error
	switch name := fmt.Sprintf("other-%d", number/4); number % 4 {
	case 0:
		err = changeStored(t, g, "anthropic", func(p *providerConfig) { p.Headers = map[string]string{"X-Change": fmt.Sprint(number)} })
	case 1:
		p := providerConfig{Name: name, Type: "openai", BaseURL: upstream, Keys: []keyConfig{{literal: "sk-" + name}}}
		stored, failed := p.stored()
		if failed != nil {
			t.Fatal(failed)
		}
		err = g.plane.AddProvider(t.Context(), stored)
	case 2:
		err = changeStored(t, g, name, func(p *providerConfig) { p.Keys = []keyConfig{{Key: "${NO_SUCH_VARIABLE}"}} })
	case 3:
		err = g.plane.RemoveProvider(t.Context(), name)
	}
	if err != nil {
		t.Errorf("change %d: %v", number, err)
	}
}

func changeStored(t *testing.T, g *gateway, name string, change func(*providerConfig)) error {
	return g.plane.ChangeProvider(t.Context(), name, func(stored *aibridgedserver.Provider) error {
		p, err := providerOf(*stored)
		if err != nil {
			return err
		}
		change(&p)
		*stored, err = p.stored()
		return err
	})
}
