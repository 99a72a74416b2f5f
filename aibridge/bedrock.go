package aibridge

import (
	"net/http"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/wire/messages"
)

// NewBedrockProvider returns a provider of type "bedrock" for Bedrock's InvokeModel. Its base URL has no default, since it
// names a region. Requests of Bedrock's own clients go through as they are. Its transport must translate those of the
// Messages API: package aibridge/bedrock makes both. The error says which option is wrong and why.
func NewBedrockProvider(name string, options ProviderOptions) (Provider, error) {
	format, hosted := messages.Format(), messages.Hosted()
	hosted.Shape = apierror.Bedrock()
	hosted.Tooling = nil // The answers of several rounds cannot be joined in frames.
	// Bedrock tells how much was written to a cache, not for how long.
	format.CacheTTL, hosted.CacheTTL = messages.CacheTTL, messages.CacheTTL
	return newProvider(providerKind{
		name: "bedrock",
		routes: []route{
			{method: http.MethodPost, path: "/v1/messages", format: &format},
			{method: http.MethodPost, path: "/model/{model}/invoke", format: &hosted},
			{method: http.MethodPost, path: "/model/{model}/invoke-with-response-stream", format: &hosted, streams: true},
			{method: http.MethodPost, path: "/model/{model}/count-tokens"},
			{method: http.MethodGet, path: "/inference-profiles"},
			{method: http.MethodGet, path: "/inference-profiles/{model}"},
		},
		shape:     apierror.Anthropic(),
		shapes:    []pathShape{{"/model/", apierror.Bedrock()}, {"/inference-profiles", apierror.Bedrock()}},
		setKey:    setBearer,
		keyHeader: credential.Authorization,
		rewrites:  true,
	}, name, options)
}

// NewMantleProvider returns a provider of type "bedrock" for Bedrock's Mantle, which speaks the Messages API. Its base URL has
// no default, since it names a region. The error says which option is wrong and why.
func NewMantleProvider(name string, options ProviderOptions) (Provider, error) {
	format := messages.Format()
	format.CacheTTL = messages.CacheTTL
	return newProvider(providerKind{
		name: "bedrock",
		routes: []route{
			{method: http.MethodPost, path: "/v1/messages", format: &format},
			{method: http.MethodPost, path: "/v1/messages/count_tokens"},
			{method: http.MethodGet, path: "/v1/models"},
			{method: http.MethodGet, path: "/v1/models/"},
		},
		shape:     apierror.Anthropic(),
		setKey:    func(header http.Header, key Key) { header.Set("X-Api-Key", key.Secret) },
		keyHeader: credential.APIKey,
	}, name, options)
}
