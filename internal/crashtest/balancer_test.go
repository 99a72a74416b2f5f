package crashtest

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"sync"
	"time"
)

// nowhere is the number of a gateway that does not exist: the balancer found none.
const nowhere = -1

var errNoGateway = errors.New("no gateway takes connections")

// balancer gives TCP connections to gateways in turn, and to the next one if one takes none. It does not look into them.
type balancer struct {
	relay    *relay
	gateways []string
	closed   chan struct{} // Closed by close.

	mu     sync.Mutex
	next   int                 // Guarded by mu, like routes.
	routes map[string]chan int // The gateway of a new connection, by the address that its client has.
}

// newBalancer returns a balancer that serves. The caller closes it.
func newBalancer(gateways []string) (*balancer, error) {
	b := &balancer{gateways: gateways, routes: map[string]chan int{}, closed: make(chan struct{})}
	var err error
	b.relay, err = newRelay(b.choose)
	return b, err
}

func (b *balancer) close() {
	close(b.closed)
	b.relay.close()
}

// choose connects with the next gateway that takes connections.
func (b *balancer) choose(client net.Addr) (*net.TCPConn, error) {
	b.mu.Lock()
	first := b.next
	b.next++
	b.mu.Unlock()
	for tried := range b.gateways {
		n := (first + tried) % len(b.gateways)
		if conn, err := dialTCP(b.gateways[n]); err == nil {
			b.tell(client, n)
			return conn, nil
		}
	}
	b.tell(client, nowhere)
	return nil, errNoGateway
}

// tell waits until a client knows its gateway. Until then its connection does not break, so that it always gets to ask. One
// that was cancelled does not.
func (b *balancer) tell(client net.Addr, gateway int) {
	timer := time.NewTimer(clientPatience)
	defer timer.Stop()
	select {
	case b.routeOf(client) <- gateway:
	case <-timer.C:
	case <-b.closed:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.routes, client.String())
}

// routeOf returns the channel that gets the gateway of a client's new connection.
func (b *balancer) routeOf(client net.Addr) chan int {
	b.mu.Lock()
	defer b.mu.Unlock()
	route, known := b.routes[client.String()]
	if !known {
		route = make(chan int)
		b.routes[client.String()] = route
	}
	return route
}

// routed is a client's connection through a balancer.
type routed struct {
	net.Conn

	gateway int
}

// connect is for [http.Transport.DialContext]: it connects with the balancer, whatever the address.
func (b *balancer) connect(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.relay.address())
	if err != nil {
		return nil, err
	}
	select {
	case gateway := <-b.routeOf(conn.LocalAddr()):
		return routed{conn, gateway}, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), conn.Close())
	}
}

// withRoute returns a context for a request that notes which gateway it is sent to.
func withRoute(ctx context.Context, a *attempt) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if conn, ok := info.Conn.(routed); ok {
			a.gateway = conn.gateway
		}
	}})
}
