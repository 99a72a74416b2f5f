package mcp

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/storable"
)

const (
	redacted = "[redacted]"
	// minSecret is the length below which a word of a header is taken for an ordinary one.
	minSecret = 6
	// maxErrorText is how much of an error's text is kept, since servers write parts of it.
	maxErrorText = 1024
)

// credentials are what a server is shown, and what nobody else must be shown for that reason.
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

// secrets are the strings that no text leaves this package with, longest first. Servers know them, and may repeat them
// in whatever they answer.
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

// failure is an error of a server's. Of its cause it keeps the text without secrets, and the kind, not the cause
// itself: whoever unwrapped that could print it.
type failure struct {
	text string
	kind error // One of kinds, or nil.
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.kind }

// failure returns err as an error that callers may see: what says which operation failed, on which server.
func (s secrets) failure(what string, err error) error {
	return &failure{text: what + ": " + storable.Cut(s.clean(plainText(err)), maxErrorText), kind: kindOf(err)}
}

// plainText returns the text of err, without the URL and the repetitions that the layers of an HTTP client put around
// the reason.
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
