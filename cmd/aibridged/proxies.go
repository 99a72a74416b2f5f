package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// proxyUnix in trusted_proxies stands for every client of a socket.
const proxyUnix = "unix"

// proxies are those whose X-Forwarded-For is believed. What it says is for the log: no decision is made by an address.
type proxies struct {
	networks []netip.Prefix
	unix     bool
}

// newProxies reads the entries of trusted_proxies.
func newProxies(entries []string) (*proxies, error) {
	p := &proxies{}
	for _, entry := range entries {
		if entry == proxyUnix {
			p.unix = true
			continue
		}
		network, err := netip.ParsePrefix(entry)
		if address, alone := netip.ParseAddr(entry); alone == nil && address.Zone() == "" {
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil || network != network.Masked() || network.Addr().Is4In6() {
			return nil, fmt.Errorf("trusted_proxies: %q is not an address, a network such as 10.0.0.0/8, or %s", entry, proxyUnix)
		}
		p.networks = append(p.networks, network)
	}
	return p, nil
}

// handler returns a handler whose requests come from the addresses that trusted proxies say.
func (p *proxies) handler(next http.Handler) http.Handler {
	if len(p.networks) == 0 && !p.unix {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if client := p.client(r); client != "" {
			r = r.WithContext(r.Context()) // A copy: net/http goes on using its own.
			r.RemoteAddr = client
		}
		next.ServeHTTP(w, r)
	})
}

// client returns the address that a request comes from by the word of trusted proxies, or nothing if there is none. Each proxy
// adds the address that it was connected from at the end, so what stands before the last one that no proxy is trusted for was
// written by that client, and may be anything.
func (p *proxies) client(r *http.Request) string {
	if !p.trustsPeer(r.RemoteAddr) {
		return ""
	}
	client, lines := "", r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			last := strings.LastIndexByte(rest, ',')
			address, ok := addressIn(strings.TrimSpace(rest[last+1:]))
			if !ok {
				return client
			}
			client = address.String()
			if !p.trusts(address) {
				return client
			}
			if more = last >= 0; more {
				rest = rest[:last]
			}
		}
	}
	return client
}

func (p *proxies) trustsPeer(remote string) bool {
	address, err := netip.ParseAddrPort(remote)
	if err != nil {
		return p.unix // The peers of a socket have no address.
	}
	return p.trusts(address.Addr())
}

func (p *proxies) trusts(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	for _, network := range p.networks {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// addressIn reads an element of X-Forwarded-For: an address, which some proxies write with a port.
func addressIn(text string) (netip.Addr, bool) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		withPort, portErr := netip.ParseAddrPort(text)
		address, err = withPort.Addr(), portErr
	}
	return address.Unmap().WithZone(""), err == nil
}
