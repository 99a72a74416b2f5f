// Package aibridge is the bridge itself: an HTTP handler that relays one user's requests to AI providers, byte for byte
// and at once, and records what they were.
//
// A [RequestBridge] serves paths of the form /<provider>/<the provider's own path>:
//
//	anthropic, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{Key: key})
//	providers, err := aibridge.NewProviderSet(anthropic)
//	bridge := aibridge.NewRequestBridge(providers, recorder, aibridge.BridgeOptions{})
//	bridge.ServeHTTP(w, r.WithContext(aibridge.AsActor(r.Context(), actor)))
//
// The relay is [net/http/httputil.ReverseProxy]; a request's exchange is its transport, and what it returns as the
// answer's body reads along. What differs between APIs is a value of internal/wire's Format, what differs between
// providers a [Provider]: the bridge asks neither of them which one it is.
//
// The package authenticates nobody. Whoever mounts a bridge puts the [Actor] into the request's context and takes the
// gateway's own credentials out of the request; package aibridged does both.
package aibridge
