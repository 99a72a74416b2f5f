package aibridge

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/apierror"
)

// ProviderSet is the providers that a bridge serves, found by name. It is immutable and safe for concurrent use; one
// set serves all bridges.
type ProviderSet struct {
	byName map[string]*Provider
	copies *copyBuffers // Shared by all requests of all bridges.
}

// NewProviderSet returns a set of providers. It fails where two of them share a name. A set without providers is fine:
// it serves nothing.
func NewProviderSet(providers ...Provider) (*ProviderSet, error) {
	set := &ProviderSet{byName: make(map[string]*Provider, len(providers)), copies: &copyBuffers{}}
	for _, provider := range NewMemory(0).Share(providers) {
		if provider.name == "" {
			return nil, fmt.Errorf("a provider without a name: make providers with their constructors")
		}
		if _, taken := set.byName[provider.name]; taken {
			return nil, fmt.Errorf("two providers are named %q: give each a name of its own", provider.name)
		}
		set.byName[provider.name] = &provider
	}
	return set, nil
}

// CloseIdleConnections closes the connections to upstreams that no request uses. Requests in flight are not disturbed.
func (s *ProviderSet) CloseIdleConnections() {
	for _, provider := range s.byName {
		provider.idle()
	}
}

// destination is where a request goes.
type destination struct {
	provider *Provider
	route    route
	path     string // Escaped, below the provider's name.
}

// find judges a request's path and returns where it leads, or an *[apierror.Error]. The path goes upstream byte for
// byte as it was judged.
func (s *ProviderSet) find(r *http.Request) (destination, error) {
	escaped := r.URL.EscapedPath()
	if err := judgePath(escaped); err != nil {
		return destination{}, &apierror.Error{Status: http.StatusBadRequest, Text: "path not accepted: " + err.Error()}
	}
	name, rest, _ := strings.Cut(strings.TrimPrefix(escaped, "/"), "/")
	path := "/" + rest
	provider, ok := s.byName[name]
	if !ok {
		return destination{}, notSupported(r, escaped)
	}
	if provider.disabled {
		return destination{}, &apierror.Error{
			Status:     http.StatusServiceUnavailable,
			Text:       fmt.Sprintf("provider_disabled: AI provider %q is disabled", name),
			RetryAfter: disabledRetry,
		}
	}
	route, ok := provider.route(path)
	if !ok {
		return destination{}, notSupported(r, escaped)
	}
	return destination{provider: provider, route: route, path: path}, nil
}

func notSupported(r *http.Request, path string) *apierror.Error {
	const longest = 256
	if len(path) > longest {
		path = path[:longest] + "..."
	}
	return &apierror.Error{Status: http.StatusNotFound, Text: "route not supported: " + r.Method + " " + path}
}
