package credential

import (
	"net/http"
	"net/textproto"
	"strings"
)

// Forward returns a copy of a request's header as it goes upstream, by the table in headers.go, and without what
// Connection names. The header mine has the caller's own credential, which goes upstream; if mine is empty, the
// provider's key will be set.
func Forward(header http.Header, mine string) http.Header {
	out := make(http.Header, len(header)+1) // One more: the provider's key will come in.
	for name, values := range header {
		switch fateOf(name) {
		case stays:
		case own:
			if name == mine {
				out[name] = values
			}
		case account:
			if mine != "" {
				out[name] = values
			}
		case passes:
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
