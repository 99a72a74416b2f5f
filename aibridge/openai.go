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
	return newProvider(speakingOpenAI("openai", "https://api.openai.com/v1"), name, options)
}

// speakingOpenAI returns a kind of providers that have OpenAI's APIs, below a base URL that includes /v1.
func speakingOpenAI(name, baseURL string) providerKind {
	return providerKind{
		name: name, baseURL: baseURL, prefix: "/v1", routes: openAIRoutes("/v1"),
		shape: apierror.OpenAI(), setKey: setBearer, keyHeader: credential.Authorization,
	}
}

// openAIRoutes returns the routes of OpenAI's APIs below a path.
func openAIRoutes(below string) []route {
	chatFormat, responsesFormat, compactFormat, embeddingsFormat := chat.Format(), responses.Format(), responses.Compact(), embeddings.Format()
	stored := responses.Stored()
	return []route{
		{method: http.MethodPost, path: below + "/chat/completions", format: &chatFormat},
		{method: http.MethodPost, path: below + "/responses", format: &responsesFormat},
		{method: http.MethodPost, path: below + "/responses/compact", format: &compactFormat},
		{method: http.MethodPost, path: below + "/embeddings", format: &embeddingsFormat},
		{method: http.MethodGet, path: below + "/models"},
		{method: http.MethodGet, path: below + "/models/"},
		{method: http.MethodPost, path: below + "/responses/input_tokens"},
		{method: http.MethodGet, path: below + "/responses/{response_id}", stored: &stored},
		{method: http.MethodDelete, path: below + "/responses/{response_id}"},
		{method: http.MethodPost, path: below + "/responses/{response_id}/cancel", stored: &stored},
		{method: http.MethodGet, path: below + "/responses/{response_id}/input_items"},
		{method: http.MethodPost, path: below + "/conversations", creates: true},
		{method: http.MethodGet, path: below + "/conversations/{conversation_id}"},
		{method: http.MethodPost, path: below + "/conversations/{conversation_id}"},
		{method: http.MethodDelete, path: below + "/conversations/{conversation_id}"},
		{method: http.MethodGet, path: below + "/conversations/{conversation_id}/items"},
		{method: http.MethodPost, path: below + "/conversations/{conversation_id}/items"},
		{method: http.MethodGet, path: below + "/conversations/{conversation_id}/items/{item_id}"},
		{method: http.MethodDelete, path: below + "/conversations/{conversation_id}/items/{item_id}"},
	}
}

func setBearer(header http.Header, key Key) {
	header.Set("Authorization", "Bearer "+key.Secret)
}
