package aibridge

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/apierror"
)

// ProviderSet is the providers that a bridge serves, found by name. It is immutable and safe for concurrent use; one
// set serves all bridges. It remembers which interceptions began the latest background responses.
type ProviderSet struct {
	byName     map[string]*Provider
	copies     *copyBuffers // Shared by all requests of all bridges.
	background *backgroundResponses
}

// NewProviderSet returns a set of providers. It fails where two of them share a name. A set without providers is fine:
// it serves nothing.
func NewProviderSet(providers ...Provider) (*ProviderSet, error) {
	set := &ProviderSet{
		byName: make(map[string]*Provider, len(providers)), copies: &copyBuffers{}, background: &backgroundResponses{},
	}
	for _, provider := range NewUpstreams().Share(NewMemory(0).Share(providers)) {
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

// Succeed makes the set remember what the set before it remembers of background responses. It is called before the set
// is used.
func (s *ProviderSet) Succeed(before *ProviderSet) { s.background = before.background }

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

// find judges a request's path and returns where it leads, or an error: an *[apierror.Error], or one around it. The path
// goes upstream byte for byte as it was judged. Beside an error, the destination has the provider that the path names,
// or none.
func (s *ProviderSet) find(r *http.Request) (destination, error) {
	escaped := r.URL.EscapedPath()
	name, rest, _ := strings.Cut(strings.TrimPrefix(escaped, "/"), "/")
	to := destination{provider: s.byName[name], path: "/" + rest}
	routed := false
	if to.provider != nil {
		to.route, routed = to.provider.route(r.Method, to.path)
	}
	judge := judgePath
	if to.route.endsInModel() {
		judge = judgeModelPath
	}
	if err := judge(escaped); err != nil {
		return to, &apierror.Error{Status: http.StatusBadRequest, Text: "path not accepted: " + err.Error()}
	}
	switch {
	case to.provider == nil:
		return to, notSupported(r, "")
	case to.provider.disabled:
		return to, &apierror.Error{
			Status:     http.StatusServiceUnavailable,
			Text:       fmt.Sprintf("provider_disabled: AI provider %q is disabled", name),
			RetryAfter: disabledRetry,
		}
	case !routed:
		return to, notSupported(r, to.provider.openingEntry(r.Method, to.path))
	}
	return to, nil
}

// unsupported is the refusal of a request that no route takes. Its text for logs leaves out the path, which may hold
// ids.
type unsupported struct{ refusal *apierror.Error }

func (u unsupported) Error() string { return "route not supported" }

func (u unsupported) Unwrap() error { return u.refusal }

// notSupported refuses a request that no route takes. Entry is the entry of [ProviderOptions.Passthrough] that would
// open it. If there is none, the status is 404; otherwise it is 403, which says that the path is known and closed.
func notSupported(r *http.Request, entry string) error {
	const longest = 256
	path := r.URL.EscapedPath()
	if len(path) > longest {
		path = path[:longest] + "..."
	}
	refusal := &apierror.Error{Status: http.StatusNotFound, Text: "route not supported: " + r.Method + " " + path}
	if entry != "" {
		refusal.Status = http.StatusForbidden
		refusal.Text += fmt.Sprintf("; the gateway's operator can open it with passthrough: [%q]", entry)
	}
	return unsupported{refusal}
}
