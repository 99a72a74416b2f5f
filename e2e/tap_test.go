package e2e

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
)

// tap is a server that passes every request on to another one, and keeps the headers of the requests.
type tap struct {
	*httptest.Server

	mu     sync.Mutex
	passed []passed // Guarded by mu.
}

// passed is one request and the status of its answer.
type passed struct {
	method, target string
	header         http.Header
	status         int
}

// newTap returns a tap before the server at address. The caller closes it.
func newTap(address string) (*tap, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	t := &tap{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(response *http.Response) error {
			t.keep(response.Request, response.StatusCode)
			return nil
		},
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	t.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The request is read whole first: ReverseProxy can cut an answer that begins before the request is sent.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	return t, nil
}

func (t *tap) keep(r *http.Request, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passed = append(t.passed, passed{r.Method, r.URL.RequestURI(), r.Header.Clone(), status})
}

// take returns what has passed since the last call of take.
func (t *tap) take() []passed {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.passed
	t.passed = nil
	return taken
}
