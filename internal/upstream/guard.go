package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/aibridged/internal/apierror"
)

// maxHeaderValues is how many header values an answer may have. Providers send some thirty.
const maxHeaderValues = 1000

// Guard returns a RoundTripper that lets through only what a client may have, and fails with an [*apierror.Error] (see
// [Failure]) otherwise. It belongs right above the transport.
//
// Answers: a redirect (301, 302, 303, 307, 308) is neither followed nor passed on, so that no key goes to an address
// that an upstream named. A switch of protocols, a status that HTTP does not have, too many header values, and control
// characters in a value are refused. Each of these is a 502, and the refused body is closed. Set-Cookie is removed from
// headers and trailers, since its cookies would be for the gateway and not for the client.
//
// Requests: none is sent again where it may have reached the upstream (see [sendSafely]).
func Guard(next http.RoundTripper) http.RoundTripper { return &guard{next: next} }

type guard struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	resp, err := g.next.RoundTrip(sendSafely(r.WithContext(ctx)))
	if err != nil {
		return nil, Failure(WithContextError(ctx, err))
	}
	resp.Request = r
	if err := inspect(resp); err != nil {
		_ = resp.Body.Close() // The answer is refused in any case.
		return nil, err
	}
	resp.Header.Del("Set-Cookie")
	if resp.Body != http.NoBody {
		resp.Body = &guardedBody{ReadCloser: resp.Body, resp: resp}
	}
	return resp, nil
}

// WithContextError returns err, the error with which a request could not be sent. If the request's context has ended,
// the error that it returns also wraps the context's error: net/http may report the context's cause, or what failed
// first.
func WithContextError(ctx context.Context, err error) error {
	if done := ctx.Err(); done != nil && !errors.Is(err, done) {
		return fmt.Errorf("%w: %w", done, err)
	}
	return err
}

// inspect returns why a client may not have resp, or nil. The causes quote no value of a header: it could be anything.
func inspect(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect,
		http.StatusPermanentRedirect:
		return refuse(textRedirect, fmt.Errorf("status %d to host %q", resp.StatusCode, locationHost(resp)))
	}
	if resp.StatusCode < 200 || resp.StatusCode > 599 {
		return refuse(textInvalid, fmt.Errorf("status %d", resp.StatusCode))
	}
	count := 0
	for name, values := range resp.Header {
		if count += len(values); count > maxHeaderValues {
			return refuse(textInvalid, fmt.Errorf("more than %d header values", maxHeaderValues))
		}
		if !printable(values) {
			return refuse(textInvalid, fmt.Errorf("control character in header %q", name))
		}
	}
	return nil
}

func refuse(text string, err error) *apierror.Error {
	return &apierror.Error{Status: http.StatusBadGateway, Text: text, Cause: &cause{err: err, answered: true}}
}

// locationHost returns the host that a redirect leads to, for the operator who configured an address that moved. Path
// and query stay out of logs.
func locationHost(resp *http.Response) string {
	location, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return ""
	}
	return location.Host
}

// printable reports whether all values are free of control characters. A tab does not count as one; bytes above 127 are
// opaque. https://www.rfc-editor.org/rfc/rfc9110#section-5.5
func printable(values []string) bool {
	for _, value := range values {
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return false
		}
	}
	return true
}

// guardedBody drops the trailers that a client may not have. It is too late to refuse the answer when they arrive.
type guardedBody struct {
	io.ReadCloser
	resp *http.Response
}

func (b *guardedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.resp.Trailer.Del("Set-Cookie")
		for name, values := range b.resp.Trailer {
			if !printable(values) {
				delete(b.resp.Trailer, name)
			}
		}
	}
	return n, err
}
