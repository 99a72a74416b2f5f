package aibridge_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
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

// TestBridgeJudgesRequests checks that a bridge which a host serves by itself refuses a Host that is none, and ends a
// connection after a request with a Transfer-Encoding.
func TestBridgeJudgesRequests(t *testing.T) {
	bridge := newBridge(t, roundTrip(nil), &ends{}, aibridge.BridgeOptions{})
	for host, want := range map[string]string{"": "names no host", "a?b": "not a host name", "u@a": "not a host name", "a:x": "not a port"} {
		r := httptest.NewRequest(http.MethodPost, "/p/v1/messages", strings.NewReader("{}"))
		r.Host = host
		w := httptest.NewRecorder()
		if bridge.ServeHTTP(w, r); w.Code != 400 || !strings.HasPrefix(w.Body.String(), `{"type":"error"`) || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q: %d %s", host, w.Code, w.Body)
		}
	}
	for _, coding := range []string{"", "chunked"} {
		r := httptest.NewRequest(http.MethodPost, "/p/v1/messages", strings.NewReader("no JSON"))
		if coding != "" {
			r.TransferEncoding = []string{coding}
		}
		w := httptest.NewRecorder()
		if bridge.ServeHTTP(w, r); w.Code != 400 || (w.Header().Get("Connection") == "close") != (coding != "") {
			t.Errorf("%q: %d %v", coding, w.Code, w.Header())
		}
	}
}
