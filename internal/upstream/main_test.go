package upstream

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/coder/aibridged/internal/apierror"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is the key of every request of these tests. It must never be seen in an error.
const canary = "sk-canary-0123456789"

// newTransport returns a transport whose connections end with the test.
func newTransport(t *testing.T, limits Limits) *Transport {
	t.Helper()
	transport := NewTransport(limits)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// guarded is the chain as a bridge builds it.
func guarded(t *testing.T) http.RoundTripper {
	t.Helper()
	return Idle(Guard(newTransport(t, Limits{})), 0)
}

// request returns a request that carries the canary. If body is empty, the request has none.
func request(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", canary)
	return r
}

// answer sends r and returns the response and its whole body.
func answer(t *testing.T, next http.RoundTripper, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := next.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	body, err := readAll(resp)
	if err != nil {
		t.Fatalf("%s %s: read body: %v", r.Method, r.URL, err)
	}
	return resp, body
}

func readAll(resp *http.Response) (string, error) {
	body, err := io.ReadAll(resp.Body)
	return string(body), errors.Join(err, resp.Body.Close())
}

// wantFailure sends r, which must fail with a status, and checks that nothing of the upstream shows.
func wantFailure(t *testing.T, next http.RoundTripper, r *http.Request, status int) *apierror.Error {
	t.Helper()
	resp, err := next.RoundTrip(r)
	if err == nil {
		_ = resp.Body.Close()
		t.Fatalf("%s %s: status %d, want a failure", r.Method, r.URL, resp.StatusCode)
	}
	return checkFailure(t, err, r.URL, status)
}

// checkFailure checks that err is a failure that a client may see, in all shapes.
func checkFailure(t *testing.T, err error, target *url.URL, status int) *apierror.Error {
	t.Helper()
	failure, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		t.Fatalf("not an *apierror.Error: %v", err)
	}
	if failure.Status != status {
		t.Errorf("status %d, want %d (cause: %v)", failure.Status, status, failure.Cause)
	}
	if failure.Cause == nil {
		t.Error("no cause for the log")
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("the key is in the error: %v", err)
	}
	for _, shape := range []apierror.Shape{apierror.Anthropic(), apierror.OpenAI(), apierror.Plain()} {
		w := httptest.NewRecorder()
		shape.Write(w, httptest.NewRequest(http.MethodPost, "/", nil), failure)
		checkSilent(t, w.Body.String(), target)
	}
	return failure
}

// checkSilent checks that what a client reads names no part of an upstream.
func checkSilent(t *testing.T, text string, target *url.URL) {
	t.Helper()
	for _, secret := range []string{canary, target.Hostname(), target.Port(), "dial", "tcp", "goroutine"} {
		if secret != "" && strings.Contains(text, secret) {
			t.Errorf("%q shows in %s", secret, text)
		}
	}
}

// roundTripperFunc is a RoundTripper made of a function.
type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
