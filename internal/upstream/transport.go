// Package upstream sends requests to a provider. It has the transport, the checks that protect the gateway and its
// clients from an answer, and the errors that a client may see. Package observe, above the transport, copies what
// passes.
//
//	transport := upstream.NewTransport(upstream.Limits{})
//	next := upstream.Idle(upstream.Guard(transport), time.Minute)
//	resp, err := next.RoundTrip(r) // A failure is an *apierror.Error that can be shown to the client.
//
// None of these follows a redirect or tries again after a failure: one request is one attempt at one address. Only a
// request that certainly reached nobody is sent once more, see [Transport]. Code that tries again, with another key or
// after a pause, belongs above them and sees every failure.
package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// Limits bound how long an upstream may take until its answer's header has come, and how large that header may be. A
// zero field means its default. [Idle] bounds what follows the header.
type Limits struct {
	// Dial limits the resolution of a name and the TCP handshake together. Default: 10 s.
	Dial time.Duration
	// TLSHandshake limits the TLS handshake. Default: 10 s.
	TLSHandshake time.Duration
	// ResponseHeader limits the wait from the last byte of the request to the end of the answer's header. Default:
	// 10 min, because a blocking answer sends its header when its last token is made, and 64,000 tokens take minutes.
	ResponseHeader time.Duration
	// ResponseHeaderBytes limits the size of the answer's header. Default: 256 KiB.
	ResponseHeaderBytes int64
}

const (
	// writeStall is how long one write of a request may be blocked because the upstream does not read. The limits of
	// net/http begin when a request has been written: without this one, an upstream that stops reading would hold a
	// request for ever.
	writeStall = 30 * time.Second

	// pingAfter and pingLimit are for HTTP/2 connections that died without a sign: a ping that is not answered ends the
	// connection and all its streams.
	pingAfter = 30 * time.Second
	pingLimit = 15 * time.Second
)

// NewTransport returns a transport for providers: HTTP/1.1 and HTTP/2, no proxy, no compression of its own, TLS 1.2 or
// newer. Nothing in the process's environment changes what it does. The caller closes its idle connections when it is
// no longer needed.
func NewTransport(limits Limits) *Transport {
	return replaying(&http.Transport{
		Proxy:       nil, // The environment's proxies would see every prompt.
		DialContext: dialer(or(limits.Dial, 10*time.Second), writeStall),

		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: or(limits.TLSHandshake, 10*time.Second),

		DisableCompression:     true, // Bytes go through as they are.
		ResponseHeaderTimeout:  or(limits.ResponseHeader, 10*time.Minute),
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: or(limits.ResponseHeaderBytes, 256<<10),

		// A gateway talks to few hosts, with many requests at once.
		MaxIdleConns:        1024,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,

		ForceAttemptHTTP2: true,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingLimit},
	})
}

// or returns v, or fallback where v is zero.
func or[T time.Duration | int64](v, fallback T) T {
	if v == 0 {
		return fallback
	}
	return v
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// dialer returns a function that dials within limit, and whose connections give up a write that stalls.
func dialer(limit, stall time.Duration) dialFunc {
	d := &net.Dialer{Timeout: limit, KeepAlive: 15 * time.Second}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newUpstreamConn(conn, stall), nil
	}
}
