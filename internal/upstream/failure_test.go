package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/aibridged/internal/apierror"
)

func TestFault049FailuresSayNothing(t *testing.T) {
	target := &url.URL{Scheme: "https", Host: "secret.example:8443"}
	op := func(op string, err error) error {
		return &net.OpError{Op: op, Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 8443}, Err: err}
	}
	name := &net.DNSError{Err: "no such host", Name: target.Hostname(), IsNotFound: true}
	cases := map[string]struct {
		err    error
		status int
		text   string
	}{
		"refused":           {op("dial", syscall.ECONNREFUSED), 502, textUnreachable},
		"no route":          {op("dial", syscall.EHOSTUNREACH), 502, textUnreachable},
		"dial timeout":      {op("dial", os.ErrDeadlineExceeded), 504, textTimeout},
		"kernel timeout":    {op("dial", syscall.ETIMEDOUT), 504, textTimeout},
		"name":              {op("dial", name), 502, textUnreachable},
		"reset":             {op("read", syscall.ECONNRESET), 502, textFailed},
		"stalled write":     {fmt.Errorf("write: %w", op("write", os.ErrDeadlineExceeded)), 504, textTimeout},
		"cut":               {io.ErrUnexpectedEOF, 502, textFailed},
		"silence":           {fmt.Errorf("read: %w", ErrIdle), 504, textTimeout},
		"request deadline":  {context.DeadlineExceeded, 504, textTimeout},
		"cancelled":         {fmt.Errorf("%w: %w", context.Canceled, io.ErrUnexpectedEOF), 502, textCanceled},
		"unknown":           {errors.New("secret.example:8443 says no"), 502, textFailed},
		"client: too large": {&bodyError{&http.MaxBytesError{Limit: 1}}, 413, textBodyTooLarge},
		"client: too slow":  {&bodyError{op("read", os.ErrDeadlineExceeded)}, 408, textBodyTimeout},
		"client: broke off": {&bodyError{io.ErrUnexpectedEOF}, 400, textBodyFailed},
		"client: left":      {fmt.Errorf("%w: %w", context.Canceled, &bodyError{io.ErrUnexpectedEOF}), 400, textBodyFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			failure := checkFailure(t, Failure(c.err), target, c.status)
			if failure.Text != c.text {
				t.Errorf("text %q, want %q", failure.Text, c.text)
			}
			if !errors.Is(failure, c.err) {
				t.Errorf("the cause %v is not %v", failure.Cause, c.err)
			}
		})
	}
}

func TestFailureKeepsAFailure(t *testing.T) {
	own := &apierror.Error{Status: http.StatusServiceUnavailable, Text: "shutting down"}
	if got := Failure(fmt.Errorf("%w: %w", context.Canceled, own)); got != own {
		t.Errorf("got %v, want the error itself", got)
	}
}

func TestCauseIsShort(t *testing.T) {
	long := errors.New(strings.Repeat("ä", 100_000))
	if got := Failure(long).Cause.Error(); len(got) > maxCause || strings.TrimRight(got, "ä") != "" {
		t.Errorf("the cause has %d bytes: %q", len(got), got)
	}
}

// failingBody is the body of a client's request that ends in an error.
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

// TestClientBodies has the failures of an upload that say nothing about the upstream, over both protocols.
func TestClientBodies(t *testing.T) {
	cases := map[string]struct {
		err    error
		status int
	}{
		"too large": {&http.MaxBytesError{Limit: 4}, http.StatusRequestEntityTooLarge},
		"broke off": {io.ErrUnexpectedEOF, http.StatusBadRequest},
		"too slow":  {os.ErrDeadlineExceeded, http.StatusRequestTimeout},
	}
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
		}))
		server.EnableHTTP2 = protocol == "HTTP/2.0"
		server.StartTLS()
		t.Cleanup(server.Close)
		transport := newTransport(t, Limits{})
		transport.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		next := Idle(Guard(transport), 0)
		if resp, _ := answer(t, next, request(t, http.MethodPost, server.URL, "{}")); resp.Proto != protocol {
			t.Fatalf("protocol %s, want %s", resp.Proto, protocol)
		}
		for name, c := range cases {
			for _, length := range []int64{-1, 100} {
				t.Run(fmt.Sprint(protocol, " ", name, " ", length), func(t *testing.T) {
					r := request(t, http.MethodPost, server.URL, "")
					r.Body, r.ContentLength = failingBody{strings.NewReader("half"), c.err}, length
					if failure := wantFailure(t, next, r, c.status); !errors.Is(failure, c.err) {
						t.Errorf("cause %v, want %v", failure.Cause, c.err)
					}
				})
			}
		}
	}
}
