package rawserver_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/coder/aibridged/internal/rawserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dial(t *testing.T, server *rawserver.Server) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

func TestPlaysBytes(t *testing.T) {
	server := rawserver.New(t, func(c *rawserver.Conn) {
		for {
			r, body := c.ReadRequest()
			if r == nil {
				c.Write("no more")
				return
			}
			c.Write(r.Method + " " + r.URL.Path + " " + string(body) + "\n")
		}
	})
	conn := dial(t, server)
	_, err := io.WriteString(conn, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"+
		"GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if want := "POST /a hi\nGET /b \nno more"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestEndsOfAConnection(t *testing.T) {
	cases := map[string]struct {
		play func(*rawserver.Conn)
		want error
	}{
		"reset":       {(*rawserver.Conn).Reset, syscall.ECONNRESET},
		"close":       {(*rawserver.Conn).Close, nil},
		"close write": {func(c *rawserver.Conn) { c.CloseWrite(); c.Hang() }, nil},
		"return":      {func(*rawserver.Conn) {}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ready := make(chan struct{})
			server := rawserver.New(t, func(conn *rawserver.Conn) {
				<-ready // A RST during the handshake would be a failed dial.
				c.play(conn)
			})
			conn := dial(t, server)
			close(ready)
			if _, err := io.ReadAll(conn); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestHangEndsWithTheTest(t *testing.T) {
	var conn net.Conn
	t.Run("inner", func(t *testing.T) {
		playing := make(chan struct{})
		server := rawserver.New(t, func(c *rawserver.Conn) {
			close(playing)
			c.Hang()
		})
		var err error
		if conn, err = net.Dial("tcp", server.Addr()); err != nil {
			t.Fatal(err)
		}
		<-playing
	})
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want EOF", err)
	}
}
