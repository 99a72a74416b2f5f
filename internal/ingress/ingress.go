// Package ingress has the rules for requests as they come in over a network, which net/http leaves to its handlers:
// what a Host may be, and when a connection must carry no further request.
package ingress

import (
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// EndConnection makes a connection of HTTP/1 end with the answer where another server, in front of this one, may have
// read the request's framing in another way: what follows on that connection could then be a request that the other
// server never saw. It is called before the answer begins.
//
// Over HTTP/1.1, this is every request with a Transfer-Encoding. A Content-Length beside it is how requests are
// smuggled (RFC 9112, section 6.1), and net/http removes that before a handler can see it. Over HTTP/1.0, net/http also
// removes the Transfer-Encoding, so this is every request. HTTP/2 has its own framing.
func EndConnection(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0) {
		w.Header().Set("Connection", "close")
	}
}

// The reasons why a Host is refused.
var (
	errNoHost   = errors.New("the request names no host")
	errTwoHosts = errors.New("the request names two hosts")
	errBadHost  = errors.New("the request's host is not a host name or address")
	errBadPort  = errors.New("the request's port is not a port")
)

// JudgeHost refuses a request whose Host is not a name or an address, with or without a port. A request of HTTP/1.0
// may have none. The errors are fit for clients, and do not repeat the Host.
func JudgeHost(r *http.Request) error {
	// Net/http moves the Host of HTTP/1 out of the header, and the :authority of HTTP/2 does not remove a Host beside it.
	for i, host := range r.Header["Host"] {
		if i > 0 || !strings.EqualFold(host, r.Host) {
			return errTwoHosts
		}
	}
	if r.Host == "" {
		if r.ProtoMajor == 1 && r.ProtoMinor == 0 {
			return nil
		}
		return errNoHost
	}
	_, err := Hostname(r.Host)
	return err
}

// Hostname returns the name or address in a Host, without brackets and without the port. It fails if host is not one.
func Hostname(host string) (string, error) {
	name, port, hasPort := host, "", false
	if literal, ok := strings.CutPrefix(host, "["); ok {
		var rest string
		name, rest, ok = strings.Cut(literal, "]")
		port, hasPort = strings.CutPrefix(rest, ":")
		address, err := netip.ParseAddr(name)
		if !ok || !hasPort && rest != "" || err != nil || !address.Is6() || address.Zone() != "" {
			return "", errBadHost
		}
	} else {
		if name, port, hasPort = strings.Cut(host, ":"); !isName(name) {
			return "", errBadHost
		}
	}
	if hasPort && !isPort(port) {
		return "", errBadPort
	}
	return name, nil
}

// isPort reports whether text is a port in decimal digits.
func isPort(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false // [strconv.ParseUint] would take an underscore or a sign in some bases.
		}
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

// isName reports whether text is the name of a host, or an IPv4 address. Names may have underscores, as those of
// containers do, and a dot at the end. A name that ends in a number must be an address, since browsers take it for one.
func isName(text string) bool {
	text = strings.TrimSuffix(text, ".")
	if len(text) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
		last = label
	}
	if strings.Trim(last, "0123456789") != "" {
		return true
	}
	address, err := netip.ParseAddr(text)
	return err == nil && address.Is4()
}
