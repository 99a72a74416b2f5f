package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
		"refused":          {op("dial", syscall.ECONNREFUSED), 502, textUnreachable},
		"no route":         {op("dial", syscall.EHOSTUNREACH), 502, textUnreachable},
		"dial timeout":     {op("dial", os.ErrDeadlineExceeded), 504, textTimeout},
		"kernel timeout":   {op("dial", syscall.ETIMEDOUT), 504, textTimeout},
		"name":             {op("dial", name), 502, textUnreachable},
		"reset":            {op("read", syscall.ECONNRESET), 502, textFailed},
		"stalled write":    {fmt.Errorf("write: %w", op("write", os.ErrDeadlineExceeded)), 504, textTimeout},
		"cut":              {io.ErrUnexpectedEOF, 502, textFailed},
		"silence":          {fmt.Errorf("read: %w", ErrIdle), 504, textTimeout},
		"request deadline": {context.DeadlineExceeded, 504, textTimeout},
		"cancelled":        {fmt.Errorf("%w: %w", context.Canceled, io.ErrUnexpectedEOF), 502, textCanceled},
		"unknown":          {errors.New("secret.example:8443 says no"), 502, textFailed},
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
