package controlplane_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"cdr.dev/slog/v3"
	"cdr.dev/slog/v3/sloggers/sloghuman"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/coder/aibridged/controlplane"
)

// TestServeLogsPanics finds a panic's value and stack in the log, and neither in the client's error.
func TestServeLogsPanics(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	listener := newPipes()
	stop := serve(t, listener, fake(explode), controlplane.ServeOptions{Logger: slog.Make(sloghuman.Sink(&log))})
	_, err := authorize(t.Context(), connect(t, controlplane.Network(listener.dial, patient())), "key")
	if err == nil || strings.Contains(err.Error(), "boom") {
		t.Errorf("the client got %v", err)
	}
	stop()
	for _, want := range []string{"boom", "IsAuthorized", "controlplane_test.explode"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

func explode(context.Context, string, protobuf.Message) (protobuf.Message, error) { panic("boom") }

// TestServeAcceptsAgain checks that Serve goes on after errors that pass, and returns one that does not.
func TestServeAcceptsAgain(t *testing.T) {
	t.Parallel()
	listener := &failing{pipes: newPipes(), errs: []error{
		&net.OpError{Op: "accept", Err: syscall.EMFILE},
		&net.OpError{Op: "accept", Err: syscall.ECONNABORTED},
		&net.OpError{Op: "accept", Err: syscall.ENFILE},
	}}
	served := make(chan error)
	go func() { served <- controlplane.Serve(t.Context(), listener, fake(echo), controlplane.ServeOptions{}) }()
	client := connect(t, controlplane.Network(listener.dial, patient()))
	if name, err := authorize(t.Context(), client, "key"); err != nil || name != "key" {
		t.Errorf("got %q, %v", name, err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve returned %v, want the listener's error", err)
	}
	<-client.DRPCConn().Closed()
}

// failing is a listener that fails before it accepts.
type failing struct {
	*pipes
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	return f.pipes.Accept()
}
