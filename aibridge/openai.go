package aibridge

import (
	"net/http"

	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/wire/chat"
	"github.com/coder/aibridged/internal/wire/responses"
)

// NewOpenAIProvider returns a provider of type "openai", which speaks Chat Completions and Responses. Its error says
// which option is wrong and why.
func NewOpenAIProvider(name string, options ProviderOptions) (Provider, error) {
	chatFormat, responsesFormat := chat.Format(), responses.Format()
	return newProvider(providerKind{
		name:    "openai",
		baseURL: "https://api.openai.com/v1",
		prefix:  "/v1",
		routes: []route{
			{path: "/v1/chat/completions", format: &chatFormat},
			{path: "/v1/responses", format: &responsesFormat},
			{path: "/v1/models"},
			{path: "/v1/models/"},
			{path: "/v1/responses/"},
			{path: "/v1/conversations"},
			{path: "/v1/conversations/"},
			{path: "/v1/embeddings"},
		},
		setKey:    setBearer,
		keyHeader: credential.Authorization,
	}, name, options)
}

func setBearer(header http.Header, key string) {
	header.Set("Authorization", "Bearer "+key)
}
