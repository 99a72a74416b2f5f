package observe

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/coder/aibridged/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is the key of every request of these tests. No file may contain it.
const canary = "sk-canary-0123456789"

// request returns a request that carries the canary. An empty body means none.
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

// transport returns a transport as providers have it, whose connections are closed at the end of the test.
func transport(t *testing.T) http.RoundTripper {
	t.Helper()
	transport := upstream.NewTransport(upstream.Limits{})
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// roundTripperFunc is a RoundTripper made of a function.
type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// failingBody is a body that ends in an error.
type failingBody struct {
	io.Reader
	err error
}

func (b failingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

func (failingBody) Close() error { return nil }

// upload is a request body without an end.
type upload struct{ closed chan struct{} }

func (u *upload) Read(p []byte) (int, error) {
	select {
	case <-u.closed:
		return 0, errors.New("closed")
	default:
		return len(p), nil
	}
}

func (u *upload) Close() error {
	select {
	case <-u.closed:
	default:
		close(u.closed)
	}
	return nil
}
