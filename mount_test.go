package aibridged_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/rawserver"
	"github.com/coder/aibridged/internal/testkit"
)

// TestMountedUnderAnotherRoot is about a host that mounts the gateway under a root of its own and strips that: it works
// like the documented root, over the network and in the same process, whatever a proxy says about prefixes.
func TestMountedUnderAnotherRoot(t *testing.T) {
	t.Parallel()
	const root = "/api/v2/ai-gateway"
	seen := make(chan string, 1)
	up := rawserver.New(t, func(c *rawserver.Conn) {
		for {
			r, _ := c.ReadRequest()
			if r == nil {
				return
			}
			seen <- r.URL.RequestURI()
			c.Write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
		}
	})
	g := testkit.NewGateway(t, up.URL(), testkit.GatewayOptions{})
	mux := http.NewServeMux()
	mux.Handle(root+"/", http.StripPrefix(root, g.Server))
	mux.Handle(aibridge.RootPath+"/", g.Server)
	host := httptest.NewServer(mux)
	defer host.Close()
	client := testkit.NewClient(t)

	inProcess := func(factory aibridge.TransportFactory) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			transport, err := factory.TransportFor("anthropic", aibridge.SourceAgents)
			if err != nil {
				return nil, err
			}
			r.Header.Del("Authorization")
			return transport.RoundTrip(r.WithContext(aibridge.WithDelegatedAPIKeyID(r.Context(), testkit.APIKeyID)))
		}
	}
	for name, test := range map[string]struct {
		base string // Of the provider.
		send func(*http.Request) (*http.Response, error)
	}{
		"documented root":         {host.URL + aibridge.RootPath + "/anthropic", client.Do},
		"another root":            {host.URL + root + "/anthropic", client.Do},
		"in process, the server":  {"http://gateway", inProcess(aibridged.NewTransportFactory(g.Server))},
		"in process, the host":    {"http://gateway", inProcess(aibridged.NewTransportFactory(mux))},
		"in process, the mount":   {"http://gateway", inProcess(aibridged.NewTransportFactoryAt(root, http.StripPrefix(root, g.Server)))},
		"in process, no root":     {"http://gateway", inProcess(aibridged.NewTransportFactoryAt("", g.Server))},
		"in process, nested root": {"http://gateway", inProcess(aibridged.NewTransportFactoryAt(root+aibridge.RootPath, http.StripPrefix(root, g.Server)))},
	} {
		for _, prefix := range []string{"", root, aibridge.RootPath, "/elsewhere", "/anthropic"} {
			for path, want := range map[string]string{
				"/v1/messages?beta=true":   "/v1/messages?beta=true",
				"/api/event_logging/a%20b": "/api/event_logging/a%20b",
			} {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, test.base+path, strings.NewReader(`{"model":"m","messages":[]}`))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+testkit.Token)
				if prefix != "" {
					r.Header.Set("X-Forwarded-Prefix", prefix)
				}
				response, err := test.send(r)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if err != nil || response.StatusCode != http.StatusOK {
					t.Fatalf("%s, prefix %q, %s: status %d: %s, %v", name, prefix, path, response.StatusCode, body, err)
				}
				if got := <-seen; got != want {
					t.Errorf("%s, prefix %q: the upstream got %s, want %s", name, prefix, got, want)
				}
			}
		}
	}
	for _, root := range []string{"gateway", "/", "/gateway/"} {
		if _, err := aibridged.NewTransportFactoryAt(root, g.Server).TransportFor("anthropic", ""); err == nil {
			t.Errorf("root %q: no error", root)
		}
	}
}
