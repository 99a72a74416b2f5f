package mcp

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/storable"
)

const (
	redacted = "[redacted]"
	// minSecret is the length in bytes below which a word of a header counts as an ordinary word, not as a secret.
	minSecret = 6
	// maxErrorText is how many bytes of an error's text are kept, since servers write parts of it.
	maxErrorText = 1024
)

// credentials are the headers that a server is sent, and the secrets in them and in its URL, which nobody else may see.
type credentials struct {
	header  http.Header
	secrets secrets
}

func newCredentials(headers map[string]string, server *url.URL) credentials {
	header := make(http.Header, len(headers))
	for name, value := range headers {
		header.Set(name, value)
	}
	return credentials{header: header, secrets: secretsOf(headers, server)}
}

// secrets are the strings that this package removes from every text that it returns or logs, longest first. Servers
// know them and may repeat them in their answers.
type secrets []string

// secretsOf returns the credentials in a server's headers and in its URL's query.
func secretsOf(headers map[string]string, server *url.URL) secrets {
	var found secrets
	add := func(value string) {
		if len(value) >= minSecret {
			found = append(found, value)
		}
	}
	for _, value := range headers {
		add(value)
		if words := strings.Fields(value); len(words) > 1 {
			for _, word := range words[1:] { // The first is a scheme, such as Bearer.
				add(word)
			}
		}
	}
	for _, values := range server.Query() {
		for _, value := range values {
			add(value)
			add(url.QueryEscape(value))
		}
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(found)
}

// clean returns text without the secrets.
func (s secrets) clean(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	return text
}

// failure is an error of a server. It keeps the text of its cause without secrets, and the kind, but not the cause
// itself: a caller that unwrapped the cause could print its secrets.
type failure struct {
	text string
	told string // For the model.
	kind error  // One of kindOf's, or nil.
}

func (f *failure) Error() string { return f.text }

// Told returns what the model, and so its provider, may read of the failure: no address of a network and no cause, but the
// server's own words.
func (f *failure) Told() string { return f.told }

func (f *failure) Unwrap() error { return f.kind }

// failure returns err as an error that callers may see. The argument what says which operation failed, on which server.
func (s secrets) failure(what string, err error) error {
	kind := kindOf(err)
	return &failure{
		text: what + ": " + storable.Cut(s.clean(plainText(err)), maxErrorText), kind: kind,
		told: what + ": " + storable.Cut(s.clean(toldText(err, kind)), maxErrorText),
	}
}

// toldText returns what may be told of err, which is of that kind.
func toldText(err, kind error) string {
	status, _ := errors.AsType[*statusError](err)
	said, _ := errors.AsType[*rpcError](err)
	_, network := errors.AsType[net.Error](err)
	switch {
	case kind != nil:
		return kind.Error()
	case status != nil:
		return status.Error()
	case said != nil:
		return said.Error()
	case network, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server cannot be reached, or broke its answer off"
	}
	return "the server did not answer as the protocol wants"
}

// plainText returns the text of err. It leaves out the URL and the repetitions that the layers of an HTTP client add.
func plainText(err error) string {
	if requestError, ok := errors.AsType[*url.Error](err); ok {
		return requestError.Err.Error()
	}
	return err.Error()
}

func kindOf(err error) error {
	kinds := [...]error{
		ErrRefusedURL, ErrUnauthorized, ErrSessionExpired, ErrUnknownTool, ErrTooLarge, ErrClosed,
		errRedirect, errLinkLocal, context.DeadlineExceeded, context.Canceled,
	}
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}
