package aibridge_test

import (
	"context"
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
	return acting(aibridge.NewRequestBridge(providers, recorder, options))
}

// acting makes all requests to a bridge those of one actor, as a host does.
func acting(bridge http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bridge.ServeHTTP(w, r.WithContext(aibridge.AsActor(r.Context(), aibridge.Actor{ID: "ada"})))
	})
}

// TestNoActor is about a request that nobody is named for: it is refused on every route, goes nowhere and is not
// recorded.
func TestNoActor(t *testing.T) {
	nowhere := upstreamFunc(func(r *http.Request) (*http.Response, error) {
		t.Errorf("%s went upstream", r.URL)
		return nil, http.ErrServerClosed
	})
	provider, err := aibridge.NewAnthropicProvider("p", aibridge.ProviderOptions{Key: "key-0123456789", Transport: nowhere})
	if err != nil {
		t.Fatal(err)
	}
	providers, err := aibridge.NewProviderSet(provider)
	if err != nil {
		t.Fatal(err)
	}
	recorder := recorderFunc(func(records []aibridge.Record) { t.Errorf("recorded %v", records) })
	bridge := aibridge.NewRequestBridge(providers, recorder, aibridge.BridgeOptions{})
	byKey := aibridge.Caller{Token: "token", Credential: aibridge.CredentialCentralized}
	for name, ctx := range map[string]context.Context{
		"none":          t.Context(),
		"without an id": aibridge.AsActor(t.Context(), aibridge.Actor{Metadata: aibridge.Metadata{"Username": "ada"}}),
		"only a token":  aibridge.WithCaller(t.Context(), byKey),
	} {
		for _, path := range []string{"/p/v1/messages", "/p/v1/models", "/p/nothing", "/"} {
			w := httptest.NewRecorder()
			bridge.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(askWhole)))
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "no actor") {
				t.Errorf("%s, %s: status %d: %s", name, path, w.Code, w.Body)
			}
		}
	}
}

// upstreamFunc is an upstream that is a function.
type upstreamFunc func(*http.Request) (*http.Response, error)

func (f upstreamFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// recorderFunc is a Recorder that is a function.
type recorderFunc func([]aibridge.Record)

func (f recorderFunc) Record(_ context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	f(records)
	return nil, nil
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
