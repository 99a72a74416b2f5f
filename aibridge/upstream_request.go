package aibridge

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// rewriteRequest makes a caller's request the one that goes upstream. ReverseProxy has already taken out the hop-by-hop
// and forwarding headers and made the query unambiguous. Our own headers are set last, so that no caller can remove
// them by naming them in Connection.
func rewriteRequest(pr *httputil.ProxyRequest, to destination, credential credential) {
	pr.Out.URL = to.provider.upstreamURL(to.path, withoutCredentials(pr.Out.URL.RawQuery))
	pr.Out.Host = ""
	for name := range pr.Out.Header {
		if stays(name) {
			delete(pr.Out.Header, name)
		}
	}
	credential.apply(pr.Out.Header, to.provider)
}

// stays reports whether a header ends at the gateway, whatever its value.
func stays(name string) bool {
	switch name {
	case "Connection", "Upgrade", "Te", "Expect": // For this hop.
		return true
	case "Cookie", "Coder-Session-Token": // For the host.
		return true
	}
	if strings.HasPrefix(name, "X-Coder-Ai-Governance-") || strings.HasPrefix(name, "X-Ai-Bridge-") { // Ours.
		return true
	}
	if !strings.Contains(name, "_") {
		return false
	}
	// Some servers read an underscore as a hyphen: what would be judged under its real name must not pass as a twin.
	switch twin := http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")); twin {
	case "Authorization", "X-Api-Key", "Proxy-Authorization":
		return true
	default:
		return stays(twin)
	}
}

// withoutCredentials takes the parameters that APIs read keys from out of a query. The rest stays as it is, byte for
// byte.
func withoutCredentials(query string) string {
	if query == "" {
		return ""
	}
	parameters := strings.Split(query, "&")
	kept := parameters[:0]
	for _, parameter := range parameters {
		escaped, _, _ := strings.Cut(parameter, "=")
		name, err := url.QueryUnescape(escaped)
		if err != nil || isCredential(name) {
			continue
		}
		kept = append(kept, parameter)
	}
	return strings.Join(kept, "&")
}

// isCredential reports whether a parameter of that name holds a key, by the names that APIs have for one.
func isCredential(name string) bool {
	switch strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name)) {
	case "key", "apikey", "xapikey", "accesstoken", "token", "authorization":
		return true
	}
	return false
}
