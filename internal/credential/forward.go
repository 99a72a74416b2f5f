package credential

import (
	"net/http"
	"net/textproto"
	"strings"
)

// Forward returns a copy of a request's header as it goes upstream. It leaves out what is for this hop only, what
// belongs to the host or to the gateway, what a proxy in front says about the client's address, and all provider
// credentials but the one in the header own. If own is empty, it also leaves out the organisation and the project: they
// belong to the caller's credential and not to the gateway's key.
func Forward(header http.Header, own string) http.Header {
	out := make(http.Header, len(header)+1) // One more: the provider's key will come in.
	for name, values := range header {
		if name == own || !stays(name, own != "") {
			out[name] = values
		}
	}
	for _, value := range header["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			out.Del(textproto.TrimString(name))
		}
	}
	return out
}

// isNamedInConnection reports whether a header is for this hop only because Connection names it: RFC 9110, section 7.6.1.
func isNamedInConnection(header http.Header, name string) bool {
	for _, value := range header["Connection"] {
		for named := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(textproto.TrimString(named), name) {
				return true
			}
		}
	}
	return false
}

// stays reports whether a header ends at the gateway, whatever its value. byok says that the credential that goes
// upstream is the caller's.
func stays(name string, byok bool) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Expect": // For this hop: RFC 9110, section 7.6.1.
		return true
	case "Cookie", "Coder-Session-Token": // For the host.
		return true
	case Authorization, APIKey, "Api-Key", "X-Goog-Api-Key": // Credentials. Forward lets the caller's own pass.
		return true
	case "Openai-Organization", "Openai-Project", "Chatgpt-Account-Id", "X-Goog-User-Project": // They belong to a credential.
		return !byok
	case "Forwarded", "Via", "Cdn-Loop", "True-Client-Ip", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip",
		"X-Amzn-Trace-Id", "X-Original-Forwarded-For", "X-Original-Host", "X-Azure-Clientip", "X-Azure-Socketip", "Fastly-Client-Ip": // From a proxy in front.
		return true
	}
	for _, prefix := range [...]string{"X-Forwarded-", "Cf-", "Fly-", "X-Envoy-", "X-Coder-Ai-Governance-", "X-Ai-Bridge-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	if !strings.Contains(name, "_") {
		return false
	}
	// Some servers read an underscore as a hyphen, so the name is judged with hyphens in their place.
	return stays(http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")), byok)
}
