package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// Transport sends requests to providers. Where a reused connection turns out to have been closed by the upstream before
// it read a request, it sends that request once more. It is safe for concurrent use.
//
// An upstream that closes an idle connection cannot know that a request is on its way, so such a race is nobody's fault,
// and the client should not see it. But requests are paid for: none may be processed twice, and RFC 9110, section 9.2.2,
// allows to repeat a POST only with some means to know that the first one was never applied. The means is TCP. A request
// is sent again if its connection had served another one before, no byte of an answer came, and the connection died before
// the upstream acknowledged all of the request. An upstream that closes its side thereby acknowledges what it has received
// until then, so the request came too late for it.
//
// Otherwise the upstream may have read the request, and the client gets the failure. Two races are lost that way, since TCP
// does not tell them from a program that dies while it works on a request: where an upstream has received a request and
// closes the connection without having read it, and where one says goodbye, by TLS or by closing its side for writing, and
// receives a request before it closes the connection. The other way round, an upstream that reads a request and resets the
// connection before its system has acknowledged the request, within 40 milliseconds, gets it a second time: no model has
// answered by then.
//
// A request is sent again only once, and on a connection of its own, which cannot have been idle. Where the system does
// not tell what is acknowledged, nothing is sent again. On HTTP/2 the upstream says what it did not process, and net/http
// sends that again.
type Transport struct {
	*http.Transport

	fresh func() *http.Transport // Returns a transport that reuses no connection.
}

// replaying returns a Transport around pooled.
func replaying(pooled *http.Transport) *Transport {
	return &Transport{Transport: pooled, fresh: sync.OnceValue(func() *http.Transport {
		fresh := pooled.Clone()
		fresh.DisableKeepAlives = true
		return fresh
	})}
}

// RoundTrip implements [http.RoundTripper]. A request that has a body can be sent again only if it has a GetBody.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, hasBody := r.Context(), r.Body != nil && r.Body != http.NoBody
	if hasBody && r.GetBody == nil {
		return t.Transport.RoundTrip(r)
	}
	first := attempt{getBody: r.GetBody, length: max(r.ContentLength, 0)}
	if protocols := t.Protocols; protocols != nil {
		first.cleartext2 = protocols.UnencryptedHTTP2() && !protocols.HTTP1()
	}
	sent := r.WithContext(first.follow(ctx)) // A copy: the caller's request must not change.
	if hasBody {
		sent.GetBody = first.again
	}
	resp, err := t.Transport.RoundTrip(sent)
	if err == nil || ctx.Err() != nil || isTimeout(err) || !first.wasInVain(err) {
		return resp, err
	}
	again := r.WithContext(ctx)
	if hasBody {
		body, bodyErr := r.GetBody()
		if bodyErr != nil {
			return nil, err
		}
		again.Body = body
	}
	return t.fresh().RoundTrip(again)
}

// errRefused is the error of a request that an HTTP/2 upstream has refused twice.
var errRefused = errors.New("upstream refused the request twice")

// attempt is one sending of a request.
type attempt struct {
	getBody func() (io.ReadCloser, error)
	length  int64 // Of the body.
	// cleartext2 says that connections without TLS are of HTTP/2.
	cleartext2 bool

	mu       sync.Mutex    // Guards what follows: a transport calls from goroutines of its own.
	sent     int           // How often the header was sent.
	http2    bool          // Of the connection.
	conn     *upstreamConn // Nil: a connection that was not used before, or not of HTTP/1.
	began    int64         // How much had been written to the connection before the request.
	answered bool          // A byte of the answer came.
}

// follow returns a context for a request, which the attempt then follows.
func (a *attempt) follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: a.gotConn, WroteHeaders: a.wroteHeader, GotFirstResponseByte: a.gotAnswer,
	})
}

// gotConn may be called more than once, since net/http tries another connection if one died before it was used.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	conn := a.http1Conn(info.Conn)
	a.conn, a.answered, a.http2 = nil, false, conn == nil
	if conn != nil && info.Reused {
		a.conn, a.began = conn, conn.written.Load()
	}
}

// again returns the body once more for net/http, which would send a request to an HTTP/2 upstream that goes on refusing it
// for a minute.
func (a *attempt) again() (io.ReadCloser, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.http2 && a.sent > 1 {
		return nil, errRefused
	}
	return a.getBody()
}

func (a *attempt) wroteHeader() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent++
}

func (a *attempt) gotAnswer() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answered = true
}

// wasInVain reports whether a request failed because its connection had been idle and died before the upstream read the
// request. See [Transport].
func (a *attempt) wasInVain(err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil || a.answered {
		return false
	}
	// The header and the records of TLS are more than the body alone, so this is certain.
	acknowledged, known := a.conn.atItsEnd()
	return known && acknowledged < a.began+max(a.length, 1)
}

// http1Conn returns our connection below an HTTP/1 connection of net/http, or nil.
func (a *attempt) http1Conn(conn net.Conn) *upstreamConn {
	secured, ok := conn.(*tls.Conn)
	switch {
	case ok && secured.ConnectionState().NegotiatedProtocol == "h2", !ok && a.cleartext2:
		return nil
	case ok:
		conn = secured.NetConn()
	}
	ours, _ := conn.(*upstreamConn)
	return ours
}
