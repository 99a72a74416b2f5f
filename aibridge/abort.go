package aibridge

import (
	"crypto/tls"
	"net"
	"net/http"
)

// abort breaks off the connection of a client, so that the client does not take the part that it has for the whole
// answer. It does not return: it panics with [http.ErrAbortHandler], which net/http turns into a visible break where
// the framing of the answer can show one. An HTTP/1.0 answer ends when its connection is closed, so only a reset shows
// the client that it broke off.
func abort(client *clientWriter, r *http.Request) {
	if !r.ProtoAtLeast(1, 1) {
		reset(client)
	}
	panic(http.ErrAbortHandler)
}

// reset closes the client's connection with a TCP reset. It does nothing where the connection cannot be taken over, as
// in HTTP/2.
func reset(client *clientWriter) {
	conn, _, err := client.controller.Hijack()
	if err != nil {
		return
	}
	inner := conn
	if secured, ok := conn.(*tls.Conn); ok {
		inner = secured.NetConn()
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // Makes Close send a reset.
	}
	_ = conn.Close()
}
