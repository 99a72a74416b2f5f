package crashtest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// relay passes TCP connections on. It can cut them, and it can be a black hole for a time: then nothing that is sent to it
// is answered, not even by its system where that can be had.
type relay struct {
	listener *net.TCPListener
	dial     func(client net.Addr) (*net.TCPConn, error)
	serving  sync.WaitGroup

	mu    sync.Mutex
	links map[*link]struct{} // Guarded by mu, like hole.
	hole  bool
}

// newRelay returns a relay that serves. Dial connects with where a client's bytes go. The caller closes the relay.
func newRelay(dial func(client net.Addr) (*net.TCPConn, error)) (*relay, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // Its sockets take no options of TCP/IP.
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: listener.(*net.TCPListener), dial: dial, links: map[*link]struct{}{}}
	r.serving.Go(r.accept)
	return r, nil
}

// newRelayTo returns a relay that passes all connections on to one address.
func newRelayTo(address string) (*relay, error) {
	return newRelay(func(net.Addr) (*net.TCPConn, error) { return dialTCP(address) })
}

// dialTCP connects with an address on this machine.
func dialTCP(address string) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

// close cuts all connections, takes no more, and waits.
func (r *relay) close() {
	_ = r.listener.Close() // It was open.
	r.cut()
	r.serving.Wait()
}

func (r *relay) accept() {
	for {
		client, err := r.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			r.serving.Go(func() { r.serve(client) })
		}
	}
}

func (r *relay) serve(client *net.TCPConn) {
	server, err := r.dial(client.RemoteAddr())
	if err != nil {
		reset(client)
		return
	}
	l := &link{ends: [2]*net.TCPConn{client, server}, over: make(chan struct{})}
	r.mu.Lock()
	r.links[l] = struct{}{}
	if r.hole {
		l.hold()
	}
	r.mu.Unlock()
	if r.listener.SetDeadline(time.Time{}) != nil { // It is closed, and cut may have come too early for this one.
		l.cut()
	}
	l.run()
	r.mu.Lock()
	delete(r.links, l)
	r.mu.Unlock()
}

// each calls a function for all connections. Nothing else happens to them meanwhile.
func (r *relay) each(do func(*link)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.links {
		do(l)
	}
}

// cut breaks all connections off.
func (r *relay) cut() { r.each((*link).cut) }

// swallow makes the relay a black hole.
func (r *relay) swallow() {
	r.mu.Lock()
	r.hole = true
	r.mu.Unlock()
	dropArriving(r.listener, true)
	r.each((*link).hold)
}

// forget lets all connections stay silent for ever, as when what is between their ends has forgotten them. New ones work.
func (r *relay) forget() { r.each((*link).hold) }

// heal ends a black hole. By chance, a connection that is still there goes on, or is forgotten.
func (r *relay) heal(rng *rand.Rand) {
	r.mu.Lock()
	r.hole = false
	r.mu.Unlock()
	dropArriving(r.listener, false)
	r.each(func(l *link) {
		if rng.IntN(2) == 0 {
			l.release()
		}
	})
}

// link is a connection that is passed on.
type link struct {
	ends [2]*net.TCPConn
	over chan struct{} // Closed when it is cut.
	once sync.Once

	mu   sync.Mutex
	held chan struct{} // Guarded by mu. Not nil: nothing passes until it is closed.
}

// run passes bytes in both directions until both have ended.
func (l *link) run() {
	var passing sync.WaitGroup
	passing.Go(func() { l.pass(l.ends[0], l.ends[1]) })
	passing.Go(func() { l.pass(l.ends[1], l.ends[0]) })
	passing.Wait()
	for _, end := range l.ends {
		_ = end.Close() // It may be closed already.
	}
}

func (l *link) pass(to, from *net.TCPConn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !l.await() {
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				l.cut()
				return
			}
		}
		if errors.Is(err, io.EOF) {
			err = to.CloseWrite()
			if err == nil {
				return
			}
		}
		if err != nil {
			l.cut()
			return
		}
	}
}

// await waits until bytes may pass, and returns false if the connection is cut.
func (l *link) await() bool {
	for {
		l.mu.Lock()
		held := l.held
		l.mu.Unlock()
		if held == nil {
			return true
		}
		select {
		case <-held:
		case <-l.over:
			return false
		}
	}
}

// hold lets nothing pass.
func (l *link) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(chan struct{})
	}
	for _, end := range l.ends {
		dropArriving(end, true)
	}
}

// release lets bytes pass again.
func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		return
	}
	close(l.held)
	l.held = nil
	for _, end := range l.ends {
		dropArriving(end, false)
	}
}

// cut breaks the connection off.
func (l *link) cut() {
	l.once.Do(func() {
		close(l.over)
		for _, end := range l.ends {
			reset(end)
		}
	})
}

// reset closes a connection so that its peer sees that it broke off.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}
