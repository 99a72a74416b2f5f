package aibridge

import (
	"net/http"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/wire/messages"
)

// NewVertexProvider returns a provider of type "vertex" for Claude on Google's Vertex AI. Its base URL, which includes /v1, has
// no default, since it names a region. Its transport must translate requests of the Messages API: package aibridge/vertex
// makes both. The error says which option is wrong and why.
func NewVertexProvider(name string, options ProviderOptions) (Provider, error) {
	format, hosted := messages.Format(), messages.Hosted()
	routes := []route{
		{method: http.MethodPost, path: "/v1/messages", format: &format},
		{method: http.MethodPost, path: "/v1/messages/count_tokens"},
	}
	// Clients have the version in their base URL, or not.
	for _, version := range [...]string{"/v1", ""} {
		models := version + "/projects/{project}/locations/{location}/publishers/anthropic/models/"
		routes = append(routes,
			route{method: http.MethodPost, path: models + "count-tokens:rawPredict"},
			route{method: http.MethodPost, path: models + "{model}:rawPredict", format: &hosted},
			route{method: http.MethodPost, path: models + "{model}:streamRawPredict", format: &hosted, streams: true},
		)
	}
	return newProvider(providerKind{
		name:      "vertex",
		prefix:    "/v1",
		routes:    routes,
		shape:     apierror.Anthropic(),
		setKey:    setBearer,
		keyHeader: credential.Authorization,
		rewrites:  true,
	}, name, options)
}
