//go:build unix

package upstream

import (
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// TestFault003BlackHole dials a listener whose queue is full: the kernel drops the SYN, and nobody answers.
func TestFault003BlackHole(t *testing.T) {
	addr := blackHole(t)
	begin := time.Now()
	next := Guard(newTransport(t, Limits{Dial: 100 * time.Millisecond}))
	failure := wantFailure(t, next, request(t, http.MethodPost, "http://"+addr, "{}"), http.StatusGatewayTimeout)
	if elapsed := time.Since(begin); elapsed > 5*time.Second {
		t.Errorf("gave up after %v", elapsed)
	}
	if failure.Text != textTimeout {
		t.Errorf("text %q", failure.Text)
	}
}

// blackHole returns the address of a listener that accepts nothing and has no room to queue more.
func blackHole(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var listenErr error
	err = raw.Control(func(fd uintptr) { listenErr = syscall.Listen(int(fd), 0) })
	if err := errors.Join(err, listenErr); err != nil {
		t.Fatalf("shrink the queue: %v", err)
	}
	addr := listener.Addr().String()
	for range 100 {
		conn, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the queue is never full")
	return ""
}
