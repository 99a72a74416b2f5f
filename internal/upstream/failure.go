package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/coder/aibridged/internal/apierror"
)

// The only texts about a failed upstream that a client reads.
const (
	textUnreachable = "upstream unreachable"
	textFailed      = "upstream connection failed"
	textTimeout     = "upstream did not answer in time"
	textCanceled    = "upstream request canceled"
	textRedirect    = "upstream answered with a redirect"
	textInvalid     = "upstream gave an invalid answer"
)

// Failure returns what a client may know of err, which a RoundTripper or the body of its response returned. The error's
// text is one of a few constant phrases; its cause wraps err, so that [context.Canceled] and [ErrIdle] stay visible to
// errors.Is, and is short enough for a log. An [*apierror.Error] in err's chain is returned as it is.
//
// The status is 504 where time ran out, and 502 otherwise.
func Failure(err error) *apierror.Error {
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		return e
	}
	status, text := http.StatusBadGateway, textFailed
	switch {
	case errors.Is(err, context.Canceled):
		text = textCanceled
	case isName(err):
		text = textUnreachable
	case isTimeout(err):
		status, text = http.StatusGatewayTimeout, textTimeout
	case isConnect(err):
		text = textUnreachable
	}
	return &apierror.Error{Status: status, Text: text, Cause: &cause{err: err}}
}

// Failed reports whether an error, which a guarded transport returned, says that the upstream could not be reached, or did not
// answer: not that the gateway refused to send the request, nor that it refused the answer for its status or its header.
func Failed(err error) bool {
	of, ok := errors.AsType[*cause](err)
	return ok && !of.answered
}

// maxCause is how much of a cause a log gets to see.
const maxCause = 512

// cause is an error whose text is fit for a log. Errors of net/http quote what could not be understood, which may be as
// long as a header may be.
type cause struct {
	err error
	// answered says that the upstream has answered, though with nothing that a client may have.
	answered bool
}

func (c *cause) Error() string {
	if _, ok := errors.AsType[textproto.ProtocolError](c.err); ok {
		return "malformed header" // The text quotes the header, and an upstream may echo a key there.
	}
	text := c.err.Error()
	return strings.ToValidUTF8(text[:min(len(text), maxCause)], "")
}

func (c *cause) Unwrap() error { return c.err }

// isName reports whether a name could not be resolved. That does not count as a timeout, even if the resolver was too
// slow, since the upstream itself was never asked.
func isName(err error) bool {
	_, ok := errors.AsType[*net.DNSError](err)
	return ok
}

// isTimeout reports whether time ran out: that of a dial, a TLS handshake, a header, a stalled write, a silent body, or
// the request's own.
func isTimeout(err error) bool {
	if errors.Is(err, ErrIdle) {
		return true
	}
	e, ok := errors.AsType[net.Error](err) // context.DeadlineExceeded is one.
	return ok && e.Timeout()
}

// isConnect reports whether the upstream was not reached, or was not who it should be.
func isConnect(err error) bool {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	_, ok := errors.AsType[tls.RecordHeaderError](err) // Not TLS at all.
	return ok
}
