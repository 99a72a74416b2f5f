package aibridge

import (
	"context"
	"net/http"
)

// Source names the part of the host that calls the gateway in-process.
type Source string

// SourceAgents is the source of requests that the host's own agents make.
const SourceAgents Source = "agents"

// TransportFactory hands out transports whose requests are served by a gateway in the same process.
type TransportFactory interface {
	// TransportFor returns a transport to the provider of that name. It fails on an empty name or where there is no
	// gateway to serve it. The transport is safe for concurrent use and needs no closing.
	TransportFor(providerName string, source Source) (http.RoundTripper, error)
}

type (
	sourceKey      struct{}
	delegatedIDKey struct{}
)

// WithSource returns a context that says which part of the host a request comes from.
func WithSource(ctx context.Context, source Source) context.Context {
	return context.WithValue(ctx, sourceKey{}, source)
}

// SourceFromContext returns the source of a request, empty where it came over the network.
func SourceFromContext(ctx context.Context) Source {
	source, _ := ctx.Value(sourceKey{}).(Source)
	return source
}

// WithDelegatedAPIKeyID returns a context whose in-process requests are authorised as the API key with that id. The
// key's secret is not needed: the caller is trusted to have checked it.
func WithDelegatedAPIKeyID(ctx context.Context, apiKeyID string) context.Context {
	return context.WithValue(ctx, delegatedIDKey{}, apiKeyID)
}

// DelegatedAPIKeyIDFromContext returns the API key id that WithDelegatedAPIKeyID put into ctx, and whether it is there
// and not empty.
func DelegatedAPIKeyIDFromContext(ctx context.Context) (string, bool) {
	id, _ := ctx.Value(delegatedIDKey{}).(string)
	return id, id != ""
}
