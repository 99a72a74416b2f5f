package crashtest

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// silent is how long nothing comes through a black hole before it counts as one.
const silent = 300 * time.Millisecond

// TestRelay passes bytes on, lets them vanish, and cuts the connection.
func TestRelay(t *testing.T) {
	t.Parallel()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	r, err := newRelay(func(net.Addr) (*net.TCPConn, error) { return dialTCP(listener.Addr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	client, err := dialTCP(r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	arrives := func(what string) bool {
		if _, err := io.WriteString(client, what); err != nil {
			t.Fatal(err)
		}
		_ = server.SetReadDeadline(time.Now().Add(silent))
		got := make([]byte, 64)
		n, err := server.Read(got)
		if err == nil && string(got[:n]) != what {
			t.Errorf("%q arrived, want %q", got[:n], what)
		}
		return err == nil
	}
	if !arrives("before") {
		t.Error("nothing arrives")
	}
	r.swallow()
	if arrives("within") {
		t.Error("something arrives through a black hole")
	}
	if conn, err := net.DialTimeout("tcp", r.address(), silent); err == nil {
		_ = conn.Close()
		if runtime.GOOS == "linux" {
			t.Error("a black hole takes connections")
		}
	}
	r.each((*link).release)
	_ = server.SetReadDeadline(time.Now().Add(promised))
	got := make([]byte, len("within"))
	if _, err := io.ReadFull(server, got); err != nil || string(got) != "within" {
		t.Errorf("afterwards %q arrives: %v", got, err)
	}
	r.cut()
	_ = client.SetReadDeadline(time.Now().Add(promised))
	if _, err := client.Read(got); err == nil || isTimeout(err) {
		t.Errorf("after the cut: %v", err)
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}
