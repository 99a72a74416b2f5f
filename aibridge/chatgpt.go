package aibridge

import "net/http"

// NewChatGPTProvider returns a provider of type "chatgpt": the back end that Codex uses with a ChatGPT account. A key is an
// access token, and its Account the id of the ChatGPT account, which goes upstream with it.
func NewChatGPTProvider(name string, options ProviderOptions) (Provider, error) {
	kind := speakingOpenAI("chatgpt", "https://chatgpt.com/backend-api/codex")
	kind.setKey = setChatGPTKey
	return newProvider(kind, name, options)
}

func setChatGPTKey(header http.Header, key Key) {
	setBearer(header, key)
	if key.Account != "" {
		header.Set("ChatGPT-Account-Id", key.Account)
	}
}
