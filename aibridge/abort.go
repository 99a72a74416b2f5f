package aibridge

import (
	"crypto/tls"
	"net"
	"net/http"
)

// abort breaks the connection of a client off, so that it does not take what it has for the whole answer. It does not
// return: it panics with [http.ErrAbortHandler], which net/http turns into a visible break where the framing of the
// answer can show one. An HTTP/1.0 answer ends with its connection, so that only a reset tells its end from a break.
func abort(client *clientWriter, r *http.Request) {
	if !r.ProtoAtLeast(1, 1) {
		reset(client)
	}
	panic(http.ErrAbortHandler)
}

// reset closes the connection of a client with a RST, where it has one of its own.
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
		_ = tcp.SetLinger(0) // What is closed with bytes that were not sent is reset.
	}
	_ = conn.Close()
}
