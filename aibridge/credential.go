package aibridge

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/coder/aibridged/internal/apierror"
)

type credentialKindKey struct{}

// WithCredentialKind returns a context that says whose credential a request uses. Without it, a request that carries
// a provider credential is taken to bring its caller's own.
func WithCredentialKind(ctx context.Context, kind CredentialKind) context.Context {
	return context.WithValue(ctx, credentialKindKey{}, kind)
}

// credential is what a request authenticates itself with towards the upstream.
type credential struct {
	kind CredentialKind
	key  string // The caller's or the provider's; empty where there is none.
}

// credentialOf returns the credential that a request will be sent with.
func credentialOf(r *http.Request, provider *Provider) credential {
	own := r.Header.Get("X-Api-Key")
	if own == "" {
		_, own, _ = strings.Cut(r.Header.Get("Authorization"), " ")
	}
	kind, said := r.Context().Value(credentialKindKey{}).(CredentialKind)
	if !said && own != "" {
		kind = CredentialBYOK
	}
	if kind == CredentialBYOK {
		return credential{kind: CredentialBYOK, key: own}
	}
	return credential{kind: CredentialCentralized, key: provider.key}
}

// usable returns why a request cannot be sent with the credential, or nil. It is final, which 403 tells the clients
// that would try again in altered forms.
func (c credential) usable(provider *Provider) error {
	if c.kind == CredentialCentralized && c.key == "" {
		return &apierror.Error{
			Status: http.StatusForbidden,
			Text:   fmt.Sprintf("provider %q has no key here: bring your own, or ask its operator for one", provider.name),
		}
	}
	return nil
}

// apply puts the provider's key where the caller's was; a caller's own credential goes as it came.
func (c credential) apply(header http.Header, provider *Provider) {
	if c.kind == CredentialBYOK {
		return
	}
	header.Del("Authorization")
	header.Del("X-Api-Key")
	provider.setKey(header, c.key)
}

// hint tells keys apart without telling them: the first and last characters, fewer of them the shorter the key.
func (c credential) hint() string {
	length := utf8.RuneCountInString(c.key)
	if length == 0 {
		return ""
	}
	show := 0
	switch {
	case length >= 20:
		show = 4
	case length >= 10:
		show = 2
	case length >= 5:
		show = 1
	}
	runes := []rune(c.key)
	return string(runes[:show]) + "..." + string(runes[length-show:])
}

// redact takes the credential out of a text that an upstream wrote.
func (c credential) redact(text string) string {
	if len(c.key) < 5 {
		return text // Too short to be told from ordinary words.
	}
	return strings.ReplaceAll(text, c.key, c.hint())
}
