package mcp

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	keepAlive        = 30 * time.Second
	idleTimeout      = 90 * time.Second
)

var errLinkLocal = errors.New("link-local address")

// newTransport returns a transport that takes nothing from the environment and does not dial where a cloud keeps the
// credentials of its machines. Other private addresses are where many MCP servers are.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive, Control: refuseLinkLocal}
	return &http.Transport{
		DialContext:         dialer.DialContext,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: handshakeTimeout,
		IdleConnTimeout:     idleTimeout,
		MaxIdleConnsPerHost: 2,
	}
}

// refuseLinkLocal is a dialer's Control: it sees the address that a name was resolved to, just before it is used, so a
// name that resolves differently from one time to the next does not get around it.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	resolved, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := resolved.Addr().Unmap(); ip.IsLinkLocalUnicast() || ip.IsMulticast() {
		return errLinkLocal
	}
	return nil
}
