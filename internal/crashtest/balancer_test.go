package crashtest

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"sync"
)

// nowhere is the number of a gateway that does not exist: the balancer found none.
const nowhere = -1

var errNoGateway = errors.New("no gateway takes connections")

// balancer gives TCP connections to gateways in turn, and to the next one if one takes none. It does not look into them.
type balancer struct {
	relay    *relay
	gateways []string

	mu     sync.Mutex
	next   int                 // Guarded by mu, like routes.
	routes map[string]chan int // The gateway of a new connection, by the address that its client has.
}

// newBalancer returns a balancer that serves. The caller closes it.
func newBalancer(gateways []string) (*balancer, error) {
	b := &balancer{gateways: gateways, routes: map[string]chan int{}}
	var err error
	b.relay, err = newRelay(b.choose)
	return b, err
}

func (b *balancer) close() { b.relay.close() }

// choose connects with the next gateway that takes connections.
func (b *balancer) choose(client net.Addr) (*net.TCPConn, error) {
	route := b.routeOf(client)
	b.mu.Lock()
	first := b.next
	b.next++
	b.mu.Unlock()
	for tried := range b.gateways {
		n := (first + tried) % len(b.gateways)
		if conn, err := dialTCP(b.gateways[n]); err == nil {
			route <- n
			return conn, nil
		}
	}
	route <- nowhere
	return nil, errNoGateway
}

// routeOf returns the channel that gets the gateway of a client's new connection.
func (b *balancer) routeOf(client net.Addr) chan int {
	b.mu.Lock()
	defer b.mu.Unlock()
	route, known := b.routes[client.String()]
	if !known {
		route = make(chan int, 1)
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
	gateway := <-b.routeOf(conn.LocalAddr()) // The balancer always says one.
	b.mu.Lock()
	delete(b.routes, conn.LocalAddr().String())
	b.mu.Unlock()
	return routed{conn, gateway}, nil
}

// withRoute returns a context for a request that notes which gateway it is sent to.
func withRoute(ctx context.Context, a *attempt) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if conn, ok := info.Conn.(routed); ok {
			a.gateway = conn.gateway
		}
	}})
}
