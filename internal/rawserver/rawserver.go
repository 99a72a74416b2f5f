// Package rawserver is a TCP server for tests that answers with scripted bytes. Upstreams can fail in ways that
// net/http's server cannot imitate: send half a header, reset a connection, or never answer. A script can.
//
//	server := rawserver.New(t, func(c *rawserver.Conn) {
//		c.ReadRequest()
//		c.Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal")
//		c.Reset()
//	})
//
// It does not speak TLS, and parses only HTTP/1 requests; a script reads other bytes itself.
package rawserver

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Server runs a script for each connection. Its methods are safe for concurrent use.
type Server struct {
	listener net.Listener
	play     func(*Conn)
	done     chan struct{} // Closed when the test ends.
	running  sync.WaitGroup

	mu     sync.Mutex // guards conns and closed.
	conns  map[net.Conn]struct{}
	closed bool
}

// New returns a server that listens on a port of 127.0.0.1 and runs play, in a goroutine of its own, for each
// connection. When play returns, its connection is closed. When the test ends, all connections are closed, and the
// cleanup waits for all scripts.
func New(t testing.TB, play func(c *Conn)) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	s := &Server{listener: listener, play: play, done: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	s.running.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

// URL returns the server's base URL, without a path.
func (s *Server) URL() string { return "http://" + s.Addr() }

// Addr returns the server's host and port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.add(conn) {
			_ = conn.Close()
			return
		}
		s.running.Go(func() {
			defer s.remove(conn)
			s.play(&Conn{conn: conn, reader: bufio.NewReader(conn), done: s.done})
		})
	}
}

// add reports whether conn may be served: it may not once the server is closed.
func (s *Server) add(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *Server) remove(conn net.Conn) {
	_ = conn.Close() // The script may have closed it already.
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

func (s *Server) close() {
	_ = s.listener.Close()
	close(s.done)
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// Conn is one connection, for its script's goroutine only. Its methods do not fail: in many tests the peer is gone.
type Conn struct {
	conn   net.Conn
	reader *bufio.Reader
	done   <-chan struct{}
}

// ReadRequest returns the next request and its whole body, or nil where none can be read.
func (c *Conn) ReadRequest() (*http.Request, []byte) {
	r, err := http.ReadRequest(c.reader)
	if err != nil {
		return nil, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil
	}
	return r, body
}

// Read reads bytes that ReadRequest has not consumed.
func (c *Conn) Read(p []byte) (int, error) { return c.reader.Read(p) }

// Write sends s unchanged.
func (c *Conn) Write(s string) { _, _ = io.WriteString(c.conn, s) }

// TryWrite sends s unchanged and reports whether that succeeded.
func (c *Conn) TryWrite(s string) bool {
	_, err := io.WriteString(c.conn, s)
	return err == nil
}

// Reset closes the connection with a RST. Unsent bytes are lost.
func (c *Conn) Reset() {
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
}

// Client returns the address of the other end.
func (c *Conn) Client() string { return c.conn.RemoteAddr().String() }

// Close closes the connection.
func (c *Conn) Close() { _ = c.conn.Close() }

// CloseWrite sends a FIN and leaves the other direction open.
func (c *Conn) CloseWrite() {
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// Hang does nothing until the test ends.
func (c *Conn) Hang() { <-c.done }
