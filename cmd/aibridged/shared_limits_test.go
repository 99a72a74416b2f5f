package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/proto"
)

// TestSharedLimits has two gateways with one control plane that lets one request of a user be served at a time, at whichever
// gateway.
func TestSharedLimits(t *testing.T) {
	upstream, a := newCannedUpstream(t), newApart(t)
	a.startControl(t, configFile(t, providerText("main", upstream.URL)+"admission: {user_concurrent: 1}\n"))
	b := &apart{served: served{data: a.data}, control: a.control, gatewayData: t.TempDir()}
	token := newToken(t, a.data)
	others := strings.TrimSpace(a.must(t, "", "token", "create", "--user", "bob"))
	for _, one := range []*apart{a, b} {
		one.startGateway(t)
		one.becomes(t, 200, "ready")
	}
	waiting := make(chan string)
	go func() {
		status, answer := a.ask(t, "/main/v1/messages", token, strings.Replace(helloBody, "Hello", "wait", 1))
		waiting <- fmt.Sprint(status, " ", answer)
	}()
	<-upstream.arrived
	for _, one := range []*apart{a, b} {
		if status, answer := one.ask(t, "/main/v1/messages", token, helloBody); status != 429 || !strings.Contains(answer, "you have as many requests as you may have") {
			t.Errorf("a second request: %d %s", status, answer)
		}
		if status := one.status(t, "main", others); status != 200 {
			t.Errorf("another user: %d", status)
		}
	}
	close(upstream.release)
	if got := <-waiting; got != "200 "+fixedAnswer {
		t.Errorf("the first request got %s", got)
	}
	for range 50 { // One after another, at the same gateway, none of which has to wait for the one before.
		if status := a.status(t, "main", token); status != 200 {
			t.Errorf("a request after another: %d", status)
		}
	}
	b.takes(t, "main", token, 200)
}

// limitedServer is a control plane that lets requests in by a function.
type limitedServer struct {
	aibridged.DRPCServer

	enter func(*proto.EnterRequest) (*proto.EnterResponse, error)
}

func (l limitedServer) Enter(_ context.Context, in *proto.EnterRequest) (*proto.EnterResponse, error) {
	return l.enter(in)
}

// clientOf returns a client of a server over a network, which ends with the test.
func clientOf(t *testing.T, server aibridged.DRPCServer) aibridged.DRPCClient {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- controlplane.Serve(ctx, listener, server, controlplane.ServeOptions{}) }()
	client, err := controlplane.Network(func(context.Context) (net.Conn, error) { return net.Dial("tcp", listener.Addr().String()) }, controlplane.NetworkOptions{})(t.Context())
	check(t, err)
	t.Cleanup(func() {
		_ = client.DRPCConn().Close()
		cancel()
		<-served
	})
	return client
}

// connectedLimits returns limits that a server has, until the end of the test.
func connectedLimits(t *testing.T, server aibridged.DRPCServer) *sharedLimits {
	t.Helper()
	client := clientOf(t, server)
	s := newSharedLimits(slog.Logger{})
	t.Cleanup(s.close)
	s.connected(client)
	return s
}

// TestSharedLimitsThatAreNone asks a control plane once that has no limits, or does not know of any.
func TestSharedLimitsThatAreNone(t *testing.T) {
	asked := 0
	for name, server := range map[string]aibridged.DRPCServer{
		"no limits": limitedServer{nothing{}, func(*proto.EnterRequest) (*proto.EnterResponse, error) {
			asked++
			return &proto.EnterResponse{Unlimited: true}, nil
		}},
		"an older one": nothing{},
	} {
		s := connectedLimits(t, server)
		for range 3 {
			leave, err := s.Enter(t.Context(), "ada")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			leave()
		}
		if !s.unlimited || s.held != 0 || len(s.ended) != 0 {
			t.Errorf("%s: %d leases, and %v ended", name, s.held, s.ended)
		}
	}
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
}

// nothing is a control plane without any call.
type nothing struct{ aibridged.DRPCServer }

// TestSharedLimitsFail lets requests in when the control plane cannot be asked, and ends the leases that they may have.
func TestSharedLimitsFail(t *testing.T) {
	calls := make(chan *proto.EnterRequest, 10)
	s := connectedLimits(t, limitedServer{nothing{}, func(in *proto.EnterRequest) (*proto.EnterResponse, error) {
		calls <- in
		switch in.GetUserId() {
		case "fails":
			return nil, errors.New("no")
		case "beyond":
			return &proto.EnterResponse{Limit: "user_per_minute", WaitMillis: 1500}, nil
		}
		return &proto.EnterResponse{}, nil
	}})
	if _, err := s.Enter(t.Context(), "fails"); err != nil {
		t.Errorf("a request about which the control plane cannot be asked: %v", err)
	}
	failed := <-calls
	_, err := s.Enter(t.Context(), "beyond")
	refusal, ok := errors.AsType[*aibridge.AdmissionRefusal](err)
	if !ok || *refusal != (aibridge.AdmissionRefusal{Limit: "user_per_minute", RetryAfter: 1500 * time.Millisecond}) {
		t.Errorf("%+v", err)
	}
	if told := <-calls; len(told.GetEnded()) != 1 || told.GetEnded()[0] != failed.GetLease() {
		t.Errorf("the control plane is told %v", told)
	}
	leave, err := s.Enter(t.Context(), "ada")
	check(t, err)
	entered := <-calls
	leave()
	if told := <-calls; told.GetUserId() != "" || len(told.GetEnded()) != 1 || told.GetEnded()[0] != entered.GetLease() || told.GetGatewayId() != entered.GetGatewayId() {
		t.Errorf("the control plane is told %v", told)
	}
}
