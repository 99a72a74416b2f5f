package aibridge

import (
	"bytes"
	"net/http"
	"regexp"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/wire/chat"
	"github.com/coder/aibridged/internal/wire/messages"
	"github.com/coder/aibridged/internal/wire/responses"
)

// NewCopilotProvider returns a provider of type "copilot": GitHub Copilot, which has Chat Completions, Responses and
// Messages. A key is an access token for Copilot's API.
func NewCopilotProvider(name string, options ProviderOptions) (Provider, error) {
	chatFormat, responsesFormat, messagesFormat := chat.Format(), responses.Format(), messages.Format()
	return newProvider(providerKind{
		name:    "copilot",
		baseURL: "https://api.individual.githubcopilot.com",
		routes: []route{
			{method: http.MethodPost, path: "/chat/completions", format: &chatFormat},
			{method: http.MethodPost, path: "/responses", format: &responsesFormat},
			{method: http.MethodPost, path: "/v1/messages", format: &messagesFormat},
			{method: http.MethodGet, path: "/models"},
			{method: http.MethodGet, path: "/models/"},
			{method: http.MethodGet, path: "/agents/"},
			{method: http.MethodPost, path: "/agents/"},
			{method: http.MethodGet, path: "/mcp/"},
			{method: http.MethodPost, path: "/mcp/"},
			{method: http.MethodDelete, path: "/mcp/"},
			{method: http.MethodGet, path: "/.well-known/"},
		},
		shape:     apierror.OpenAI(),
		shapes:    []pathShape{{"/v1/messages", apierror.Anthropic()}},
		setKey:    setBearer,
		keyHeader: credential.Authorization,
		complete:  completeForCopilot,
		silent:    true,
	}, name, options)
}

// completeForCopilot adds the headers that Copilot wants and that only its own clients send.
func completeForCopilot(header http.Header, of sentRequest) {
	for name, value := range map[string]string{
		"Copilot-Integration-Id": "vscode-chat",
		"Editor-Version":         "aibridged/1.0",
	} {
		if header.Get(name) == "" {
			header.Set(name, value)
		}
	}
	if of.later {
		header.Set("X-Initiator", "agent") // Nobody typed this.
	}
	if header.Get("Copilot-Vision-Request") == "" && of.body.some(hasImages) {
		header.Set("Copilot-Vision-Request", "true")
	}
}

// image is a part of a message, or of a tool's result, that is an image, in any of the formats.
var image = regexp.MustCompile(`"type"\s*:\s*"(?:image|image_url|input_image)"`)

// hasImages reports whether a part of a request's body has images. It looks for the type of a part, which in a text would have
// escapes.
func hasImages(part []byte) bool {
	return (bytes.Contains(part, []byte(`"image`)) || bytes.Contains(part, []byte(`"input_image"`))) && image.Match(part)
}
