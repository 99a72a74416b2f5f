package aibridged

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/apierror"
)

// governanceHeader carries the gateway's token where a caller brings a provider credential of its own.
const governanceHeader = "X-Coder-Ai-Governance-Token"

// longestToken bounds what the control plane is asked about, in bytes.
const longestToken = 4096

// credentials is what a request says of who sends it.
type credentials struct {
	token       string // Empty where delegated.
	delegatedID string // The API key id that a caller in this process vouches for.
	kind        aibridge.CredentialKind
}

// credentialsOf reads a request's credentials. This is the only place that decides which header counts as what.
func credentialsOf(r *http.Request) (credentials, error) {
	for _, name := range []string{governanceHeader, "Authorization", "X-Api-Key"} {
		if len(r.Header.Values(name)) > 1 {
			return credentials{}, &apierror.Error{Status: http.StatusBadRequest, Text: "header " + name + " is there more than once"}
		}
	}
	found := credentials{kind: aibridge.CredentialCentralized}
	if len(r.Header.Values(governanceHeader)) > 0 {
		found.kind = aibridge.CredentialBYOK
	}
	if id, ok := aibridge.DelegatedAPIKeyIDFromContext(r.Context()); ok {
		found.delegatedID = id
		return found, nil
	}
	token, presented := presentedToken(r.Header)
	switch {
	case !presented:
		return credentials{}, &apierror.Error{Status: http.StatusBadRequest, Text: ErrNoAuthKey.Error(), Cause: ErrNoAuthKey}
	case token == "" || len(token) > longestToken || !isPrintable(token):
		return credentials{}, unauthorized(ErrUnauthorized)
	}
	found.token = token
	return found, nil
}

// presentedToken returns the first token of a request. An empty one counts only where there is no other.
func presentedToken(header http.Header) (token string, presented bool) {
	candidates := []string{header.Get(governanceHeader), bearerToken(header.Get("Authorization")), header.Get("X-Api-Key")}
	for _, candidate := range candidates {
		if token := strings.TrimSpace(candidate); token != "" {
			return token, true
		}
	}
	scheme, _, _ := strings.Cut(strings.TrimSpace(header.Get("Authorization")), " ")
	return "", strings.EqualFold(scheme, "Bearer")
}

// bearerToken returns the token of an Authorization header, nothing for other schemes.
func bearerToken(value string) string {
	scheme, token, _ := strings.Cut(strings.TrimSpace(value), " ")
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

// strip returns the request without the gateway's own credentials, wherever they stand, and with a path below the
// gateway's root. The request that it is given stays as it is.
func (c credentials) strip(r *http.Request) *http.Request {
	r = r.WithContext(r.Context())
	r.Header = r.Header.Clone()
	r.Header.Del(governanceHeader)
	if c.kind == aibridge.CredentialCentralized {
		r.Header.Del("Authorization")
		r.Header.Del("X-Api-Key")
	}
	target := *r.URL
	target.Path, target.RawPath = withoutRoot(r.URL.Path), withoutRoot(r.URL.RawPath)
	if c.token != "" {
		for name, values := range r.Header {
			for _, value := range values {
				if strings.Contains(value, c.token) {
					r.Header.Del(name)
				}
			}
		}
		target.RawQuery = withoutToken(target.RawQuery, c.token)
	}
	r.URL = &target
	return r
}

// withoutToken takes the parameters that hold a token out of a query.
func withoutToken(query, token string) string {
	if query == "" {
		return ""
	}
	parameters := strings.Split(query, "&")
	kept := parameters[:0]
	for _, parameter := range parameters {
		plain, err := url.QueryUnescape(parameter)
		if err != nil || strings.Contains(plain, token) || strings.Contains(parameter, token) {
			continue
		}
		kept = append(kept, parameter)
	}
	return strings.Join(kept, "&")
}
