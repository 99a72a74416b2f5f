package controlplane_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"cdr.dev/slog/v3"
	"cdr.dev/slog/v3/sloggers/sloghuman"
	protobuf "google.golang.org/protobuf/proto"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/proto"
)

// TestAdmit has a server that admits every other connection, behind a connection of its own making.
func TestAdmit(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var conns, read atomic.Int64
	listener := newPipes()
	stop := serve(t, listener, fake(echo), controlplane.ServeOptions{
		Logger: slog.Make(sloghuman.Sink(&log)),
		Admit: func(_ context.Context, conn net.Conn) (net.Conn, error) {
			if conns.Add(1)%2 == 1 {
				return nil, errors.Join(errors.New("not today"), conn.Close())
			}
			return counting{conn, &read}, nil
		},
	})
	dialer := controlplane.Network(listener.dial, patient())
	for range 2 {
		if _, err := dialer(t.Context()); drpcerr.Code(err) != 14 {
			t.Errorf("a connection that was refused: %v", err)
		}
		if name, err := authorize(t.Context(), connect(t, dialer), "key"); err != nil || name != "key" {
			t.Errorf("got %q, %v", name, err)
		}
	}
	if read.Load() == 0 {
		t.Error("the connection that Admit returned was not used")
	}
	stop()
	if strings.Count(log.String(), "not today") != 2 {
		t.Errorf("the log:\n%s", log.String())
	}
}

// counting is a connection that counts what is read.
type counting struct {
	net.Conn

	read *atomic.Int64
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// configured is a control plane that tells of providers.
type configured struct {
	aibridged.DRPCServer

	answer func(*proto.GetProvidersRequest) *proto.GetProvidersResponse
}

func (c configured) GetProviders(_ context.Context, in *proto.GetProvidersRequest) (*proto.GetProvidersResponse, error) {
	return c.answer(in), nil
}

// TestConfiguration calls the service that not every control plane has.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	in, out := filled(&proto.GetProvidersRequest{}).(*proto.GetProvidersRequest), filled(&proto.GetProvidersResponse{}).(*proto.GetProvidersResponse)
	listener := newPipes()
	serve(t, listener, configured{fake(echo), func(got *proto.GetProvidersRequest) *proto.GetProvidersResponse {
		if !protobuf.Equal(got, in) {
			t.Errorf("it arrived as %v, want %v", got, in)
		}
		return out
	}}, controlplane.ServeOptions{})
	client := connect(t, controlplane.Network(listener.dial, patient()))
	got, err := proto.NewDRPCConfigurationClient(client.DRPCConn()).GetProviders(t.Context(), in)
	if err != nil || !protobuf.Equal(got, out) {
		t.Errorf("got %v, %v", got, err)
	}
	lacks := newPipes()
	serve(t, lacks, fake(echo), controlplane.ServeOptions{})
	client = connect(t, controlplane.Network(lacks.dial, patient()))
	if _, err := proto.NewDRPCConfigurationClient(client.DRPCConn()).GetProviders(t.Context(), in); drpcerr.Code(err) != drpcerr.Unimplemented {
		t.Errorf("a server that lacks it: %v", err)
	}
}
