package aibridged_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/testkit"
)

// heldUpstream answers once it is told to, and keeps the bodies that it got.
type heldUpstream struct {
	goOn chan struct{}

	mu     sync.Mutex
	bodies []string // Guarded by mu.
}

// ServeHTTP implements [http.Handler].
func (u *heldUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.bodies = append(u.bodies, string(body))
	u.mu.Unlock()
	select {
	case <-u.goOn:
	case <-r.Context().Done():
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`)
}

// TestFault060Admission is fault 60: of 100 requests at once, as many as may be are served, and the others get a 503 with
// Retry-After in the shape of the API, before the first of them has its answer, also if their bodies are large. None of
// them is recorded, and the places are free again afterwards.
func TestFault060Admission(t *testing.T) {
	t.Parallel()
	const limit, all = 8, 100
	up := &heldUpstream{goOn: make(chan struct{})}
	server := httptest.NewServer(up)
	t.Cleanup(server.Close)
	provider, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{
		BaseURL: server.URL, Key: testkit.ProviderKey, Admission: aibridge.NewAdmission(aibridge.AdmissionLimits{Concurrent: limit}),
	})
	if err != nil {
		t.Fatal(err)
	}
	g := testkit.NewGateway(t, server.URL, testkit.GatewayOptions{Provider: []aibridge.Provider{provider}})
	client := testkit.NewClient(t)
	const body = `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}`
	large := strings.Replace(body, "hello", strings.Repeat("x", 200<<10), 1)

	answers := make(chan *http.Response, all)
	send := func(body string) *http.Response {
		response, err := client.Do(g.Request(t, http.MethodPost, "/anthropic/v1/messages", body))
		if err != nil {
			t.Error(err)
		}
		return response
	}
	serve := func() {
		for range limit {
			up.goOn <- struct{}{}
		}
		for range limit {
			response := receive(t, answers)
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("a request that was let in got status %d", response.StatusCode)
			}
		}
	}
	for i := range all {
		go func() { answers <- send([]string{body, large}[i%2]) }()
	}
	for range all - limit {
		response := receive(t, answers)
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "1" || err != nil ||
			!strings.HasPrefix(string(text), `{"type":"error","error":{"type":"overloaded_error","message":"the gateway is serving`) {
			t.Fatalf("status %d, %v, %s, %v", response.StatusCode, response.Header, text, err)
		}
	}
	serve()
	for range limit {
		go func() {
			response := send(body)
			for response != nil && response.StatusCode == http.StatusServiceUnavailable { // An answer is there before its place is free.
				_ = response.Body.Close()
				response = send(body)
			}
			answers <- response
		}()
	}
	serve()
	if n := len(up.bodies); n != 2*limit {
		t.Errorf("%d requests went upstream", n)
	}
	testkit.CheckPairs(t, g.Control.WaitEnds(t, 2*limit))
	if n := strings.Count(g.Log.String(), "requests of a user are refused"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

// receive returns the next answer, within [testkit.Patience].
func receive(t *testing.T, answers <-chan *http.Response) *http.Response {
	t.Helper()
	select {
	case response := <-answers:
		if response == nil {
			t.FailNow()
		}
		return response
	case <-time.After(testkit.Patience):
		t.Fatal("no answer came")
		return nil
	}
}
