package aibridge

import (
	"errors"
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
)

// shortestSecret is how long a credential must be, in bytes, to be looked for in what people and models write: a
// shorter one could be an ordinary word.
const shortestSecret = 16

// secrets are the credentials of one request: what no log line, no error and no record may hold.
type secrets struct {
	tokens credential.Tokens // The gateway's.
	key    string            // The one that goes upstream; empty where there is none.
}

// redact returns a text that an upstream may have written without the credentials.
func (s secrets) redact(text string) string {
	return s.tokens.Redact(credential.Redact(text, s.key))
}

// redactWritten is redact for a text that a person or a model wrote, which is recorded as it is except that it may not
// hold the very credentials of its request. It reports whether it held one.
func (s secrets) redactWritten(text string) (string, bool) {
	redacted := text
	for _, secret := range [...]string{s.tokens.Presented, s.key} {
		if len(secret) >= shortestSecret {
			redacted = strings.ReplaceAll(redacted, secret, credential.Hint(secret))
		}
	}
	return redacted, redacted != text
}

// logged returns an error for the log, without anything that looks like a credential: a path may hold a key, too.
func logged(err error) error {
	text := err.Error()
	if hidden := credential.Hide(text); hidden != text {
		return errors.New(hidden)
	}
	return err
}

// refusal returns err as the answer to a client and for the log, without the gateway's tokens: some errors quote what
// the client sent.
func refusal(err error, tokens credential.Tokens) *apierror.Error {
	refusal := apierror.From(err)
	if !tokens.In(refusal.Error()) {
		return refusal
	}
	redacted := *refusal
	redacted.Text = tokens.Redact(refusal.Text)
	if refusal.Cause != nil {
		redacted.Cause = tokens.Error(refusal.Cause)
	}
	return &redacted
}

// withoutTokens returns a request without the headers that hold a token of the gateway. If none does, it returns the
// request itself.
func withoutTokens(r *http.Request, tokens credential.Tokens) *http.Request {
	header := tokens.Without(r.Header)
	if len(header) == len(r.Header) {
		return r
	}
	clean := *r
	clean.Header = header
	return &clean
}
