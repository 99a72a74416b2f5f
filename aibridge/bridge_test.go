package aibridge_test

import (
	"net/http"
	"testing"

	"github.com/coder/aibridged/aibridge"
)

// newBridge returns a bridge with one provider of Anthropic's, "p", for which a transport answers.
func newBridge(tb testing.TB, transport http.RoundTripper, recorder aibridge.Recorder, options aibridge.BridgeOptions) http.Handler {
	tb.Helper()
	provider, err := aibridge.NewAnthropicProvider("p", aibridge.ProviderOptions{Key: "key-0123456789", Transport: transport})
	if err != nil {
		tb.Fatal(err)
	}
	providers, err := aibridge.NewProviderSet(provider)
	if err != nil {
		tb.Fatal(err)
	}
	return aibridge.NewRequestBridge(providers, recorder, options)
}
