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
// A bridged request is relayed by one function, from the first byte of its body to the last of its answer (relay.go),
// and recorded by an interception, which knows no HTTP (interception.go). Routes that are not recorded go through
// [net/http/httputil.ReverseProxy]. Each API is a value of internal/wire's Format and each provider is a [Provider];
// the bridge has no special case for any of them.
//
// The package authenticates nobody. The host that mounts a bridge puts the [Actor], or the whole [Caller], into the
// request's context and takes the gateway's own credentials out of the request; package aibridged does both.
package aibridge
