package aibridge

import (
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/wire/messages"
)

// NewAnthropicProvider returns a provider of type "anthropic", which speaks the Messages API. Its error says which
// option is wrong and why.
func NewAnthropicProvider(name string, options ProviderOptions) (Provider, error) {
	format := messages.Format()
	return newProvider(providerKind{
		name:    "anthropic",
		baseURL: "https://api.anthropic.com",
		routes: []route{
			{method: http.MethodPost, path: "/v1/messages", format: &format},
			{method: http.MethodPost, path: "/v1/messages/count_tokens"},
			{method: http.MethodGet, path: "/v1/models"},
			{method: http.MethodGet, path: "/v1/models/"},
			{method: http.MethodPost, path: "/api/event_logging/"},
		},
		shape:     apierror.Anthropic(),
		setKey:    setAnthropicKey,
		keyHeader: credential.APIKey,
	}, name, options)
}

// setAnthropicKey sets the header that the API expects: Authorization for an OAuth token, which only its prefix tells
// from a key, and X-Api-Key for a key.
func setAnthropicKey(header http.Header, key Key) {
	if strings.HasPrefix(key.Secret, "sk-ant-oat") {
		setBearer(header, key)
		return
	}
	header.Set("X-Api-Key", key.Secret)
}
