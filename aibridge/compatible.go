package aibridge

// The providers of this file have OpenAI's APIs, and differ in their addresses.

// NewGoogleProvider returns a provider of type "google": Gemini by Google's OpenAI-compatible endpoint. The base URL, if one
// is given, includes the path up to /openai.
func NewGoogleProvider(name string, options ProviderOptions) (Provider, error) {
	return newProvider(speakingOpenAI("google", "https://generativelanguage.googleapis.com/v1beta/openai"), name, options)
}

// NewOpenRouterProvider returns a provider of type "openrouter".
func NewOpenRouterProvider(name string, options ProviderOptions) (Provider, error) {
	return newProvider(speakingOpenAI("openrouter", "https://openrouter.ai/api/v1"), name, options)
}

// NewVercelProvider returns a provider of type "vercel": Vercel's AI Gateway.
func NewVercelProvider(name string, options ProviderOptions) (Provider, error) {
	return newProvider(speakingOpenAI("vercel", "https://ai-gateway.vercel.sh/v1"), name, options)
}

// NewOpenAICompatibleProvider returns a provider of type "openai-compat": any server that has OpenAI's APIs. The base URL
// must be given; it includes /v1, if the server's paths do.
func NewOpenAICompatibleProvider(name string, options ProviderOptions) (Provider, error) {
	return newProvider(speakingOpenAI("openai-compat", ""), name, options)
}
