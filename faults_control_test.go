package aibridged_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/rawserver"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// remoteControl is a control plane behind a connection, which the test can stop and start again at the same address.
type remoteControl struct {
	*testkit.ControlPlane

	t       *testing.T
	address string
	stop    func()
}

func newRemoteControl(t *testing.T) *remoteControl {
	t.Helper()
	r := &remoteControl{ControlPlane: &testkit.ControlPlane{}, t: t, address: "127.0.0.1:0"}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// start serves the control plane. After the first time it listens on the same address again.
func (r *remoteControl) start() {
	r.t.Helper()
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	if strings.HasSuffix(r.address, ":0") {
		r.address = listener.Addr().String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := controlplane.Serve(ctx, listener, r.ControlPlane, controlplane.ServeOptions{}); err != nil {
			r.t.Errorf("serve the control plane: %v", err)
		}
	})
	r.stop = func() {
		cancel()
		serving.Wait()
	}
}

// dialer dials the control plane at the address that it has then.
func (r *remoteControl) dialer(options controlplane.NetworkOptions) aibridged.Dialer {
	return controlplane.Network(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", r.address)
	}, options)
}

// TestFault062DiesMidAuthorisation is fault 62: a control plane that dies during an authorisation has refused nobody;
// the gateway asks it again when it is back.
func TestFault062DiesMidAuthorisation(t *testing.T) {
	t.Parallel()
	control := newRemoteControl(t)
	asked := make(chan struct{})
	var hangs atomic.Bool
	control.Authorize = func(ctx context.Context, _ *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
		if hangs.Load() {
			close(asked)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &proto.IsAuthorizedResponse{OwnerId: testkit.OwnerID, ApiKeyId: testkit.APIKeyID}, nil
	}
	s, up := newFine(t, testkit.GatewayOptions{Control: control.ControlPlane, Dialer: control.dialer(controlplane.NetworkOptions{})})
	hangs.Store(true)
	q := question{messagesFormat(), true}
	r := s.request(t, q, fine)
	var asking sync.WaitGroup
	asking.Go(func() { s.check(t, r, answered(q)) })
	<-asked
	control.stop()
	if n := len(up.requests()); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
	hangs.Store(false)
	control.start()
	asking.Wait()
	s.serves(t)
}

// TestFault063ControlPlaneDiesMidStream is fault 63: a stream goes on while the control plane is gone, and its end is
// recorded when the control plane is back.
func TestFault063ControlPlaneDiesMidStream(t *testing.T) {
	t.Parallel()
	control := newRemoteControl(t)
	began, goOn := make(chan struct{}), make(chan struct{})
	up := newScripted(t, func(c *rawserver.Conn, q question) {
		c.Write(q.chunkedHead() + chunk(q.format.events[0]))
		began <- struct{}{}
		<-goOn
		c.Write(chunk(strings.Join(q.format.events[1:], "")) + "0\r\n\r\n")
	})
	s := newSite(t, up.URL(), testkit.GatewayOptions{Control: control.ControlPlane, Dialer: control.dialer(controlplane.NetworkOptions{})})
	for _, q := range streams() {
		r := s.request(t, q, faulty)
		response, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		<-began
		control.stop()
		goOn <- struct{}{}
		got := make([]byte, len(q.answer()))
		if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != q.answer() {
			t.Errorf("%v, without a control plane: got %q, %v", q, got, err)
		}
		// The clean end of a stream waits for its records, and the records wait for the control plane.
		control.start()
		want := answered(q)
		want.body = ""
		s.checkAnswer(t, r, response, want)
		s.checkRecords(t, r, want)
	}
	s.serves(t)
}

// TestFault064SlowControlPlane is fault 64, with 62: while a control plane does not answer in time, new requests get a
// 503, and those in flight go on.
func TestFault064SlowControlPlane(t *testing.T) {
	t.Parallel()
	control := newRemoteControl(t)
	var slow atomic.Bool
	control.Authorize = func(ctx context.Context, _ *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
		if slow.Load() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &proto.IsAuthorizedResponse{OwnerId: testkit.OwnerID, ApiKeyId: testkit.APIKeyID}, nil
	}
	began, goOn := make(chan struct{}), make(chan struct{})
	up := newScripted(t, func(c *rawserver.Conn, q question) {
		c.Write(q.chunkedHead() + chunk(q.format.events[0]))
		close(began)
		<-goOn
		c.Write(chunk(strings.Join(q.format.events[1:], "")) + "0\r\n\r\n")
	})
	s := newSite(t, up.URL(), testkit.GatewayOptions{
		Control: control.ControlPlane, Dialer: control.dialer(controlplane.NetworkOptions{CallTimeout: 200 * time.Millisecond}),
	})
	inFlight := question{messagesFormat(), true}
	r := s.request(t, inFlight, faulty)
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	<-began
	slow.Store(true)
	for _, q := range questions() {
		s.check(t, s.request(t, q, fine), refused(503, aibridged.ErrConnect.Error()))
	}
	close(goOn)
	s.checkAnswer(t, r, response, answered(inFlight))
	s.checkRecords(t, r, answered(inFlight))
	slow.Store(false)
	s.serves(t)
}

// closedConn is a connection that is closed from the start.
type closedConn struct{ drpc.Conn }

func (closedConn) Closed() <-chan struct{} {
	closed := make(chan struct{})
	close(closed)
	return closed
}

// TestFault068ClosesAtOnce is faults 66 and 68: a control plane that closes each connection at once is not dialed in a
// tight loop. Once it keeps them open, the gateway is soon connected.
func TestFault068ClosesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials, well atomic.Int64
		working := controlplane.InProcess(&testkit.ControlPlane{})
		server := newServer(t, serving(nil), func(ctx context.Context) (aibridged.DRPCClient, error) {
			if dials.Add(1); well.Load() > 0 {
				return working(ctx)
			}
			return &aibridged.Client{Conn: closedConn{}}, nil
		})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := dials.Load(); n < 250 || n > 800 {
			t.Errorf("%d dials in five minutes, want one to two a second", n)
		}
		well.Store(dials.Load())
		time.Sleep(time.Second)
		if _, err := server.Client(); err != nil || dials.Load() != well.Load()+1 {
			t.Errorf("after a second: %v, and %d dials", err, dials.Load()-well.Load())
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFault068Flapping is fault 68: a control plane that comes and goes fails at most the requests that come while it
// is away. No goroutine is left over: the package's leak check would see it.
func TestFault068Flapping(t *testing.T) {
	t.Parallel()
	control := newRemoteControl(t)
	s, _ := newFine(t, testkit.GatewayOptions{Control: control.ControlPlane, Dialer: control.dialer(controlplane.NetworkOptions{})})
	s.serves(t)
	var clients sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				response, err := s.client.Do(s.request(t, question{messagesFormat(), false}, fine))
				if err != nil {
					t.Errorf("a request: %v", err)
					return
				}
				if code := response.StatusCode; code != 200 && code != 503 && code != 500 {
					t.Errorf("a request while the control plane comes and goes: %d", code)
				}
				_ = response.Body.Close()
			}
		})
	}
	for range 10 {
		control.stop()
		control.start()
		if _, err := s.Server.Client(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	clients.Wait()
	s.serves(t)
}

// TestFault070ControlPlanePanics is fault 70: a panic in the control plane fails only the call that it happened in.
func TestFault070ControlPlanePanics(t *testing.T) {
	t.Parallel()
	remote := newRemoteControl(t)
	for name, dialer := range map[string]func(*testkit.ControlPlane) aibridged.Dialer{
		"in-process": func(c *testkit.ControlPlane) aibridged.Dialer { return controlplane.InProcess(c) },
		"network": func(c *testkit.ControlPlane) aibridged.Dialer {
			remote.ControlPlane.Authorize = c.Authorize
			return remote.dialer(controlplane.NetworkOptions{})
		},
	} {
		control := &testkit.ControlPlane{}
		var panics atomic.Bool
		control.Authorize = func(context.Context, *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
			if panics.Load() {
				panic("in the control plane")
			}
			return &proto.IsAuthorizedResponse{OwnerId: testkit.OwnerID, ApiKeyId: testkit.APIKeyID}, nil
		}
		t.Run(name, func(t *testing.T) {
			options := testkit.GatewayOptions{Dialer: dialer(control), Control: control}
			if name == "network" {
				options.Control = remote.ControlPlane
			}
			s, _ := newFine(t, options)
			panics.Store(true)
			for _, q := range questions() {
				s.check(t, s.request(t, q, fine), refused(503, aibridged.ErrConnect.Error()))
			}
			panics.Store(false)
			s.serves(t)
		})
	}
}

// TestFault069And072SharedLink is faults 69 and 72: 64 requests share a connection to the control plane, which answers
// them in another order than they came; one caller leaves. All others get their own answers.
func TestFault069And072SharedLink(t *testing.T) {
	t.Parallel()
	const callers = 64
	control := newRemoteControl(t)
	arrived := make(chan string, callers)
	var mu sync.Mutex
	release := map[string]chan struct{}{} // By token; guarded by mu.
	control.Authorize = func(ctx context.Context, r *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
		mu.Lock()
		due := release[r.GetKey()]
		mu.Unlock()
		arrived <- r.GetKey()
		select {
		case <-due:
		case <-ctx.Done():
		}
		return &proto.IsAuthorizedResponse{OwnerId: testkit.OwnerID, ApiKeyId: "id of " + r.GetKey()}, nil
	}
	s, _ := newFine(t, testkit.GatewayOptions{Control: control.ControlPlane, Dialer: control.dialer(controlplane.NetworkOptions{})})
	ctx, leave := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for i := range callers {
		token := "token-" + strconv.Itoa(i)
		mu.Lock()
		release[token] = make(chan struct{})
		mu.Unlock()
		q := questions()[i%len(questions())]
		r := s.request(t, q, fine)
		r.Header.Set("Authorization", "Bearer "+token)
		asking.Go(func() {
			if i == 0 {
				if _, err := s.client.Do(r.WithContext(ctx)); !errors.Is(err, context.Canceled) {
					t.Errorf("the caller that left got %v", err)
				}
				return
			}
			s.check(t, r, answered(q))
			if got := s.interception(t, r.UserAgent())[0].GetInterception().GetApiKeyId(); got != "id of "+token {
				t.Errorf("%s was answered with the %s", token, got)
			}
		})
	}
	var order []string
	for range callers {
		order = append(order, <-arrived)
	}
	leave()
	for _, token := range slices.Backward(order) {
		close(release[token])
	}
	asking.Wait()
}

// TestFault071LargeStart is fault 71 for names: a model's name that is too long for a message is cut, and the records
// after it are delivered.
func TestFault071LargeStart(t *testing.T) {
	t.Parallel()
	remote := newRemoteControl(t)
	s, _ := newFine(t, testkit.GatewayOptions{Control: remote.ControlPlane, Dialer: remote.dialer(controlplane.NetworkOptions{})})
	response, err := s.client.Do(s.request(t, question{messagesFormat(), false}, fine+strings.Repeat("x", 5<<20)))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	start := remote.WaitEnds(t, 1)[0].GetInterception()
	if n := len(start.GetModel()); n < 1000 || n > 1<<20 || start.GetMetadata()["truncated"] == nil {
		t.Errorf("recorded %d bytes of the name, with metadata %v", n, start.GetMetadata())
	}
	s.serves(t)
	if log := s.Log.String(); strings.Contains(log, strings.Repeat("x", 1000)) {
		t.Error("the name is in the log")
	}
}

// TestFault071LargePrompt is fault 71: a prompt that is too long for a message is cut and marked as cut, and the
// connection stays open. Within one process there are no messages, and the prompt stays whole.
func TestFault071LargePrompt(t *testing.T) {
	t.Parallel()
	remote := newRemoteControl(t)
	prompt := strings.Repeat("lengthy ", 5<<17) // 5 MiB.
	for name, options := range map[string]testkit.GatewayOptions{
		"in-process": {},
		"network":    {Control: remote.ControlPlane, Dialer: remote.dialer(controlplane.NetworkOptions{})},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newFine(t, options)
			q := question{messagesFormat(), false}
			r := s.withBody(t, q, []byte(q.bodyWith(fine, prompt)))
			s.check(t, r, answered(q))
			recorded := promptOf(s.interception(t, r.UserAgent()))
			cut := recorded.GetMetadata()["truncated"] != nil
			if got := recorded.GetPrompt(); !strings.HasPrefix(prompt, got) || cut != (name == "network") || (len(got) == len(prompt)) == cut || len(got) < 2<<20 {
				t.Errorf("recorded %d bytes of %d, flagged: %t", len(got), len(prompt), cut)
			}
			s.serves(t)
		})
	}
}
