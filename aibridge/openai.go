package aibridge

import (
	"net/http"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/wire/chat"
	"github.com/coder/aibridged/internal/wire/embeddings"
	"github.com/coder/aibridged/internal/wire/responses"
)

// NewOpenAIProvider returns a provider of type "openai", which speaks Chat Completions, Responses and Embeddings. Its
// error says which option is wrong and why.
func NewOpenAIProvider(name string, options ProviderOptions) (Provider, error) {
	chatFormat, responsesFormat, compactFormat, embeddingsFormat := chat.Format(), responses.Format(), responses.Compact(), embeddings.Format()
	stored := responses.Stored()
	return newProvider(providerKind{
		name:    "openai",
		baseURL: "https://api.openai.com/v1",
		prefix:  "/v1",
		routes: []route{
			{method: http.MethodPost, path: "/v1/chat/completions", format: &chatFormat},
			{method: http.MethodPost, path: "/v1/responses", format: &responsesFormat},
			{method: http.MethodPost, path: "/v1/responses/compact", format: &compactFormat},
			{method: http.MethodPost, path: "/v1/embeddings", format: &embeddingsFormat},
			{method: http.MethodGet, path: "/v1/models"},
			{method: http.MethodGet, path: "/v1/models/"},
			{method: http.MethodPost, path: "/v1/responses/input_tokens"},
			{method: http.MethodGet, path: "/v1/responses/{response_id}", stored: &stored},
			{method: http.MethodDelete, path: "/v1/responses/{response_id}"},
			{method: http.MethodPost, path: "/v1/responses/{response_id}/cancel", stored: &stored},
			{method: http.MethodGet, path: "/v1/responses/{response_id}/input_items"},
			{method: http.MethodPost, path: "/v1/conversations"},
			{method: http.MethodGet, path: "/v1/conversations/{conversation_id}"},
			{method: http.MethodPost, path: "/v1/conversations/{conversation_id}"},
			{method: http.MethodDelete, path: "/v1/conversations/{conversation_id}"},
			{method: http.MethodGet, path: "/v1/conversations/{conversation_id}/items"},
			{method: http.MethodPost, path: "/v1/conversations/{conversation_id}/items"},
			{method: http.MethodGet, path: "/v1/conversations/{conversation_id}/items/{item_id}"},
			{method: http.MethodDelete, path: "/v1/conversations/{conversation_id}/items/{item_id}"},
		},
		shape:     apierror.OpenAI(),
		setKey:    setBearer,
		keyHeader: credential.Authorization,
	}, name, options)
}

func setBearer(header http.Header, key string) {
	header.Set("Authorization", "Bearer "+key)
}
