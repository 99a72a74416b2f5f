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

// newTransport returns a transport that takes nothing from the environment and does not dial link-local addresses,
// where a cloud serves the credentials of its machines. It dials other private addresses, since many MCP servers have
// one.
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

// refuseLinkLocal is a dialer's Control. It checks the address that the dialer is about to use, after the name was
// resolved, so a name that resolves to another address each time cannot get around it.
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
