// Package credential knows every place of a request that can carry a credential, the gateway's or a provider's, and
// which of them go upstream.
//
//	presented, err := credential.Present(r.Header)             // Who is asking, and with whose provider credential.
//	tokens := credential.Tokens{Presented: presented.Token, …} // What must not go upstream.
//	header := tokens.Without(r.Header)                         // The same header without what holds a token.
//	own := credential.OwnOf(header, "X-Api-Key")               // The caller's provider credential that goes upstream.
//	out := credential.Forward(header, own.Header)              // The header that goes upstream: see headers.go.
//
// It does not check whether a credential is valid; it only finds it.
package credential

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// GovernanceHeader carries the gateway's token where a caller brings a provider credential of their own.
const GovernanceHeader = "X-Coder-Ai-Governance-Token"

// The headers in which APIs take a key or a token.
const (
	Authorization = "Authorization"
	APIKey        = "X-Api-Key"
)

// Sign marks a request that goes with the gateway's own credentials, for a transport that authenticates it. The transport
// removes it. A client's header of that name never goes on: see headers.go.
const Sign = "X-Ai-Bridge-Sign"

// LongestToken is how long a token may be, in bytes. A control plane is not asked about a longer one.
const LongestToken = 4096

// Errors of [Present], which callers tell apart with [errors.Is].
var (
	// ErrNone says that a request presents no token.
	ErrNone = errors.New("no token")
	// ErrRepeated says that a header which may carry a token is there more than once.
	ErrRepeated = errors.New("is there more than once")
	// ErrMalformed says that what a request presents cannot be a token.
	ErrMalformed = errors.New("not a token")
)

// Presented is what a request says about its sender.
type Presented struct {
	// Token is the gateway's token, as the request has it; empty if the caller is delegated.
	Token string
	// BYOK says that the provider credential in the request is the caller's own.
	BYOK bool
}

// Present reads which token a request presents: the first of the governance header, a bearer token, and X-Api-Key. It
// fails with [ErrNone], [ErrRepeated] or [ErrMalformed].
func Present(header http.Header) (Presented, error) {
	presented, err := Delegated(header)
	if err != nil {
		return Presented{}, err
	}
	switch token, is := tokenOf(header); {
	case !is:
		return Presented{}, ErrNone
	case token == "" || len(token) > LongestToken || !isPrintable(token):
		return Presented{}, ErrMalformed
	default:
		presented.Token = token
		return presented, nil
	}
}

// Delegated is [Present] for a request whose caller is known already: the token in it, if there is one, is not read.
func Delegated(header http.Header) (Presented, error) {
	for _, name := range [...]string{GovernanceHeader, Authorization, APIKey} {
		if len(header[name]) > 1 {
			return Presented{}, fmt.Errorf("header %s %w", name, ErrRepeated)
		}
	}
	return Presented{BYOK: len(header[GovernanceHeader]) > 0}, nil
}

// Token returns the token that a request presents, or an empty string. It does not check whether that can be a token.
func Token(header http.Header) string {
	token, _ := tokenOf(header)
	return token
}

// tokenOf returns the first token of a request. An empty one counts only where there is no other.
func tokenOf(header http.Header) (token string, presented bool) {
	authorization := strings.TrimSpace(header.Get(Authorization))
	for _, candidate := range [...]string{header.Get(GovernanceHeader), bearer(authorization), header.Get(APIKey)} {
		if token := strings.TrimSpace(candidate); token != "" {
			return token, true
		}
	}
	scheme, _, _ := strings.Cut(authorization, " ")
	return "", strings.EqualFold(scheme, "Bearer")
}

// bearer returns the token of an Authorization header, or an empty string for other schemes.
func bearer(value string) string {
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

func isPrintable(token string) bool {
	for i := range len(token) {
		if token[i] <= ' ' || token[i] >= 0x7f {
			return false
		}
	}
	return true
}

// WithoutToken returns a copy of a request's header without the gateway's own credentials, wherever they stand. If the
// provider's credential is the gateway's (no BYOK), Authorization and X-Api-Key are left out, too.
func WithoutToken(header http.Header, presented Presented, tokens Tokens) http.Header {
	kept := make(http.Header, len(header)+1) // One more: the provider's key will come in.
	for name, values := range header {
		switch {
		case name == GovernanceHeader, !presented.BYOK && (name == Authorization || name == APIKey):
		case tokens.inHeader(name, values):
		default:
			kept[name] = values
		}
	}
	return kept
}

// Own is the provider credential that a caller brings.
type Own struct {
	// Header is the header that holds it, the only one of the credential headers that goes upstream; empty: there is
	// none.
	Header string
	// Key is the credential without its scheme.
	Key string
}

// OwnOf returns the caller's own credential: the one in the header that the provider prefers, or else in the first of
// the others that has one.
func OwnOf(header http.Header, preferred string) Own {
	for _, name := range [...]string{preferred, Authorization, APIKey, "Api-Key", "X-Goog-Api-Key"} {
		if isNamedInConnection(header, name) {
			continue // It is for the hop to the gateway only.
		}
		value := strings.TrimSpace(header.Get(name))
		if name == Authorization {
			if _, key, ok := strings.Cut(value, " "); ok {
				return Own{name, strings.TrimSpace(key)}
			}
			continue // A scheme alone is no credential.
		}
		if value != "" {
			return Own{name, value}
		}
	}
	return Own{}
}
