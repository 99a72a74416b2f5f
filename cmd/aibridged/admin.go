package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"net/url"
	"strings"

	"github.com/coder/aibridged/internal/ingress"
)

const (
	defaultAdminListen = "127.0.0.1:4003"
	// adminOff as the address means that there is no listener for operators.
	adminOff = "off"
	// adminConnections is how many connections operators may have.
	adminConnections = 64
)

// admin serves what operators need and clients must not see: metrics, profiles and the states of providers. It asks
// for no token, so it listens on an address that clients do not reach, and answers only to its own names: a web page
// whose name was made to lead to this address (DNS rebinding) gets nothing, and neither does a page of another
// origin.
type admin struct {
	names  map[string]bool // Beside localhost and the addresses of the machine. In the form of canonicalName.
	routes *http.ServeMux
}

// adminNames returns the names of a listener at an address: the host in it, localhost, and others that operators use.
func adminNames(listen string, others []string) (map[string]bool, error) {
	names := map[string]bool{"localhost": true}
	if host, _, err := net.SplitHostPort(listen); err == nil && host != "" {
		names[canonicalName(host)] = true
	}
	for _, name := range others {
		if _, err := netip.ParseAddr(name); err != nil {
			if host, err := ingress.Hostname(name); err != nil || host != name {
				return nil, fmt.Errorf("--admin-hosts: %q is not a host name or an address, without a port", name)
			}
		}
		names[canonicalName(name)] = true
	}
	return names, nil
}

func newAdmin(names map[string]bool, metrics, health, providers http.Handler) *admin {
	a := &admin{names: names, routes: http.NewServeMux()}
	a.routes.Handle("/metrics", metrics)
	a.routes.Handle("GET "+providersPath, providers)
	a.routes.Handle("/healthz", health)
	a.routes.Handle("/readyz", health)
	a.routes.HandleFunc("/debug/pprof/", pprof.Index)
	a.routes.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	a.routes.HandleFunc("/debug/pprof/profile", pprof.Profile)
	a.routes.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	a.routes.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return a
}

// ServeHTTP implements [http.Handler].
func (a *admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !a.isOwn(r):
		refuse(w, r, "this listener answers only to its own names: add the name with --admin-hosts")
	case isOfAnotherSite(r):
		refuse(w, r, "web pages may not read this")
	default:
		a.routes.ServeHTTP(w, r)
	}
}

// isOwn reports whether a request is for a name of this listener: one that it was given, a loopback address, or the
// address at which the connection has arrived.
func (a *admin) isOwn(r *http.Request) bool {
	if r.Host == "" {
		return true // HTTP/1.0, which no browser speaks.
	}
	host, err := ingress.Hostname(r.Host)
	if err != nil {
		return false
	}
	host = canonicalName(host)
	if a.names[host] {
		return true
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if address.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.AddrPort().Addr().Unmap().WithZone("") == address
}

// canonicalName returns a name or an address in the one form that is compared.
func canonicalName(name string) string {
	if address, err := netip.ParseAddr(name); err == nil {
		return address.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// isOfAnotherSite reports whether a browser sends a request for a page that this listener did not serve.
func isOfAnotherSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return true
	}
	for _, origin := range r.Header["Origin"] {
		if from, err := url.Parse(origin); err != nil || from.Host == "" || !strings.EqualFold(from.Host, r.Host) {
			return true
		}
	}
	return false
}
