package aibridge_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coder/aibridged/aibridge"
)

// discard is a Recorder that stores nothing.
type discard struct{}

func (discard) Record(context.Context, ...aibridge.Record) (aibridge.Commit, error) { return nil, nil }

// haikuUpstream answers every message.
type haikuUpstream struct{}

func (haikuUpstream) RoundTrip(r *http.Request) (*http.Response, error) {
	const answer = `{"id":"msg_1","type":"message","role":"assistant","model":"m","stop_reason":"tool_use",` +
		`"content":[{"type":"tool_use","id":"toolu_1","name":"look","input":{}}],` +
		`"usage":{"input_tokens":3,"output_tokens":1,"cache_read_input_tokens":2,"cache_creation_input_tokens":1}}`
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(answer)), ContentLength: -1,
	}, nil
}

// If clients make up models, the first 100 of each provider are counted by name, however many requests come at once,
// and the rest are counted together.
func TestFault117ModelLabelsAreBounded(t *testing.T) {
	t.Parallel()
	const models, named = 250, 100
	names := []string{"one", "two"}
	var providers []aibridge.Provider
	for _, name := range names {
		provider, err := aibridge.NewAnthropicProvider(name, aibridge.ProviderOptions{Key: "key", Transport: haikuUpstream{}})
		if err != nil {
			t.Fatal(err)
		}
		providers = append(providers, provider)
	}
	set, err := aibridge.NewProviderSet(providers...)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	bridge := acting(aibridge.NewRequestBridge(set, discard{}, aibridge.BridgeOptions{Metrics: aibridge.NewMetrics(registry)}))

	var clients sync.WaitGroup
	for _, name := range names {
		for half := range 2 {
			clients.Go(func() {
				for i := range models / 2 {
					model := fmt.Sprintf("model-%d-%s", half*models/2+i, strings.Repeat("x", 500))
					body := fmt.Sprintf(`{"model":%q,"max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`, model)
					w := httptest.NewRecorder()
					bridge.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+name+"/v1/messages", strings.NewReader(body)))
					if w.Code != http.StatusOK {
						t.Errorf("status %d: %s", w.Code, w.Body)
						return
					}
				}
			})
		}
	}
	clients.Wait()

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	bounded := 0
	for _, family := range families {
		seen := map[string]map[string]float64{} // Values by provider and model.
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			model, ok := labels["model"]
			if !ok {
				continue
			}
			if len(model) > 128 {
				t.Errorf("%s: a model label of %d bytes", family.GetName(), len(model))
			}
			if seen[labels["provider"]] == nil {
				seen[labels["provider"]] = map[string]float64{}
			}
			seen[labels["provider"]][model] += metric.GetCounter().GetValue()
		}
		if len(seen) == 0 {
			continue
		}
		bounded++
		for _, name := range names {
			if len(seen[name]) != named+1 || seen[name]["other"] == 0 {
				t.Errorf("%s: provider %s has %d models, other %g", family.GetName(), name, len(seen[name]), seen[name]["other"])
			}
			if total := seen[name]["other"]; family.GetName() == "interceptions_total" && total != models-named {
				t.Errorf("%g interceptions with other models, want %d", total, models-named)
			}
		}
	}
	if bounded != 4 {
		t.Errorf("%d metrics have a model, want interceptions, prompts, tokens and tool selections", bounded)
	}
}

// panicking panics where its reader ends.
type panicking struct{ io.Reader }

func (p panicking) Read(b []byte) (int, error) {
	if n, err := p.Reader.Read(b); n > 0 || err == nil {
		return n, err
	}
	panic("boom")
}

// TestInflightGoesDown is about the gauge of the interceptions that run: whatever a request meets, it is down again when
// the request has been served.
func TestInflightGoesDown(t *testing.T) {
	t.Parallel()
	recording := func(at int) aibridge.Recorder {
		calls := 0
		return recorderFunc(func([]aibridge.Record) {
			if calls++; calls == at {
				panic("boom")
			}
		})
	}
	for name, test := range map[string]struct {
		body     io.Reader
		recorder aibridge.Recorder
		upstream http.RoundTripper
	}{
		"served":                 {strings.NewReader(askWhole), discard{}, haikuUpstream{}},
		"refused":                {strings.NewReader("{"), discard{}, haikuUpstream{}},
		"panic at the body":      {panicking{strings.NewReader("")}, discard{}, haikuUpstream{}},
		"panic within the body":  {panicking{strings.NewReader(askWhole[:9])}, discard{}, haikuUpstream{}},
		"panic at the start":     {strings.NewReader(askWhole), recording(1), haikuUpstream{}},
		"panic at the end":       {strings.NewReader(askWhole), recording(2), haikuUpstream{}},
		"panic of the transport": {strings.NewReader(askWhole), discard{}, upstreamFunc(func(*http.Request) (*http.Response, error) { panic("boom") })},
		"no answer":              {strings.NewReader(askWhole), discard{}, upstreamFunc(func(*http.Request) (*http.Response, error) { return nil, io.EOF })},
	} {
		registry := prometheus.NewPedanticRegistry()
		bridge := newBridge(t, test.upstream, test.recorder, aibridge.BridgeOptions{Metrics: aibridge.NewMetrics(registry)})
		func() {
			defer func() { _ = recover() }()
			bridge.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/p/v1/messages", test.body))
		}()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, family := range families {
			if family.GetName() != "interceptions_inflight" {
				continue
			}
			found = true
			if got := family.GetMetric()[0].GetGauge().GetValue(); got != 0 {
				t.Errorf("%s: %v interceptions run, want none", name, got)
			}
		}
		if !found {
			t.Errorf("%s: no gauge", name)
		}
	}
}
