package aibridge

import (
	"crypto/tls"
	"net"
	"net/http"
)

// visiblyBroken makes the break of an answer visible to its client, so that the client does not take the part that it
// has for the whole answer. The handler then panics with [http.ErrAbortHandler], and net/http ends the connection or, in
// HTTP/2, resets the stream: that shows where an answer has chunks, a length or frames. An HTTP/1.0 answer without a
// length ends where its connection does, so that only a reset shows that it broke off.
func visiblyBroken(client *clientWriter, r *http.Request) {
	if r.ProtoAtLeast(1, 1) {
		return
	}
	_ = client.FlushError() // What was written before the break is the client's.
	conn, _, err := client.controller.Hijack()
	if err != nil {
		return // It is no connection of net/http's.
	}
	reset(conn)
}

// reset closes a connection with a TCP reset. Of wrapped connections, the one that knows how is asked; the close of TLS
// is skipped, since it would tell the client that the answer is whole.
func reset(conn net.Conn) {
	inner := conn
	for {
		if tcp, ok := inner.(interface{ SetLinger(seconds int) error }); ok {
			_ = tcp.SetLinger(0) // Makes Close send a reset.
			break
		}
		wrapper, ok := inner.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		inner = wrapper.NetConn()
	}
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	_ = conn.Close()
}
