package aibridged_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/testkit"
)

// TestPassthroughReloads is about the entries of ProviderOptions.Passthrough: they come and go with their provider, and
// hold whosever credential goes upstream.
func TestPassthroughReloads(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path)
	}))
	t.Cleanup(up.Close)
	with := func(entries ...string) []aibridge.Provider {
		provider, err := aibridge.NewOpenAIProvider("openai", aibridge.ProviderOptions{
			BaseURL: up.URL + "/v1", Key: testkit.ProviderKey, Passthrough: entries,
		})
		if err != nil {
			t.Fatal(err)
		}
		return []aibridge.Provider{provider}
	}
	g := testkit.NewGateway(t, up.URL, testkit.GatewayOptions{Provider: with()})
	client := testkit.NewClient(t)
	for _, step := range []struct {
		entries []string
		want    int
	}{
		{nil, 403}, {[]string{"GET /v1/files/"}, 200}, {[]string{"DELETE /v1/files/"}, 403}, {[]string{"GET /v1/files"}, 403},
		{[]string{"POST /v1/x", "GET /v1/files/"}, 200}, {nil, 403},
	} {
		g.Pool.ReplaceProviders(with(step.entries...))
		for _, own := range []bool{false, true} {
			r := g.Request(t, http.MethodGet, "/openai/v1/files/file-1/content", "")
			if own {
				r.Header.Set(aibridge.HeaderGovernanceToken, testkit.Token)
				r.Header.Set("Authorization", "Bearer sk-of-her-own")
			}
			response, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || response.StatusCode != step.want || (step.want == 200) != (string(body) == "GET /v1/files/file-1/content") {
				t.Errorf("with %q, own key %t: status %d, %s, %v", step.entries, own, response.StatusCode, body, err)
			}
		}
	}
	for line := range strings.Lines(g.Log.String()) {
		if strings.Contains(line, "file-1") {
			t.Errorf("logged an id: %s", line)
		}
	}
}
