// Package upstream is the way to a provider: the transport, what guards the gateway and its clients from the answers, and
// what a client may know of a failure. Package observe looks on from above the transport.
//
//	transport := upstream.NewTransport(upstream.Limits{})
//	next := upstream.Idle(upstream.Guard(transport), time.Minute)
//	resp, err := next.RoundTrip(r) // A failure is an *apierror.Error that can be shown to the client.
//
// None of these retries or follows: one request is one attempt at one address. Whoever may try again, with another key
// or after a pause, sits above them and sees every failure.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// Limits are how long an upstream may take before the first byte of its answer, and how much it may say there. A zero
// field takes its default. What follows the header is the business of [Idle].
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
	// writeStall is how long one write of a request may find no room in the upstream's window. The limits of net/http
	// begin when a request is written: without this one, an upstream that stops reading would hold a request for ever.
	writeStall = 30 * time.Second

	// pingAfter and pingLimit find the HTTP/2 connections that died in silence, and all their streams with them.
	pingAfter = 30 * time.Second
	pingLimit = 15 * time.Second
)

// NewTransport returns a transport for providers: HTTP/1.1 and HTTP/2, no proxy, no compression of its own, TLS 1.2 or
// newer. Nothing in the process's environment changes what it does. The caller closes its idle connections when it is
// of no more use.
func NewTransport(limits Limits) *http.Transport {
	return &http.Transport{
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
	}
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
		return &stallConn{Conn: conn, limit: stall}, nil
	}
}

// stallConn is a connection whose writes have a deadline each. They are of pieces: a slow upstream moves the deadline,
// only one that reads nothing at all meets it.
type stallConn struct {
	net.Conn
	limit time.Duration
}

// pieceBytes is the most that has to be taken within one limit.
const pieceBytes = 256 << 10

// Write implements [net.Conn].
func (c *stallConn) Write(p []byte) (written int, err error) {
	for {
		piece := p[:min(len(p), pieceBytes)]
		if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(piece)
		written += n
		if p = p[n:]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// ReadFrom implements [io.ReaderFrom], through which net/http sends a request's body. One that is in memory is written
// from there, instead of through a buffer.
func (c *stallConn) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return io.Copy(writerOnly{c}, r)
	}
	body, ok := limited.R.(io.WriterTo)
	if !ok {
		return io.Copy(writerOnly{c}, r)
	}
	n, err := body.WriteTo(&limitedWriter{c, limited.N})
	limited.N -= n
	if errors.Is(err, errLimit) {
		err = nil
	}
	return n, err
}

// writerOnly hides ReadFrom.
type writerOnly struct{ io.Writer }

// errLimit says that a body is longer than it was said to be: what is too much is not written.
var errLimit = errors.New("end of the body")

type limitedWriter struct {
	w    io.Writer
	left int64
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) <= l.left {
		n, err := l.w.Write(p)
		l.left -= int64(n)
		return n, err
	}
	n, err := l.w.Write(p[:l.left])
	l.left -= int64(n)
	if err == nil {
		err = errLimit
	}
	return n, err
}
