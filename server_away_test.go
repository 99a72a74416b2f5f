package aibridged_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// TestControlPlaneLostDuringAcquire has a host's own pool whose Acquire needs the control plane, which is lost between the
// authorisation of a request and that. The gateway tries again, so one loss is not noticed; after more losses the client
// gets a 503.
func TestControlPlaneLostDuringAcquire(t *testing.T) {
	t.Parallel()
	var losses atomic.Int64
	pool := poolFunc(func(context.Context, aibridged.Request) (http.Handler, error) {
		if losses.Add(-1) >= 0 {
			return nil, drpcerr.WithCode(errors.New("connection lost"), 14)
		}
		return http.NotFoundHandler(), nil
	})
	server := newServer(t, pool, controlplane.InProcess(&testkit.ControlPlane{}))
	for _, test := range []struct {
		losses int64
		status int
	}{{0, 404}, {1, 404}, {10, 503}} {
		losses.Store(test.losses)
		w := httptest.NewRecorder()
		server.ServeHTTP(w, newRequest("/anthropic/v1/messages", "X-Api-Key", testkit.Token))
		if w.Code != test.status {
			t.Errorf("after %d losses: status %d, want %d", test.losses, w.Code, test.status)
		}
		if away := test.status == 503; away != (w.Header().Get("Retry-After") != "") || away != strings.Contains(w.Body.String(), aibridged.ErrAcquireRequestHandler.Error()) {
			t.Errorf("after %d losses: %v %s", test.losses, w.Header(), w.Body)
		}
	}
}

// TestFailingToolsCostNoRequest has a control plane that cannot say which tools a user has, or with which tokens. All
// requests are served.
func TestFailingToolsCostNoRequest(t *testing.T) {
	t.Parallel()
	git := &proto.GetMCPServerConfigsResponse{ExternalAuthMcpConfigs: []*proto.MCPServerConfig{{Id: "git", Url: "http://localhost:1"}}}
	for name, configure := range map[string]func() (*proto.GetMCPServerConfigsResponse, error){
		"configs refused": func() (*proto.GetMCPServerConfigsResponse, error) { return nil, errors.New("down") },
		"configs unavailable": func() (*proto.GetMCPServerConfigsResponse, error) {
			return nil, drpcerr.WithCode(errors.New("down"), 14)
		},
		"configs that panic": func() (*proto.GetMCPServerConfigsResponse, error) { panic("down") },
		"tokens":             func() (*proto.GetMCPServerConfigsResponse, error) { return git, nil }, // The batch is not implemented.
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			control := &testkit.ControlPlane{
				Configure: func(context.Context, *proto.GetMCPServerConfigsRequest) (*proto.GetMCPServerConfigsResponse, error) {
					return configure()
				},
			}
			s, _ := newFine(t, testkit.GatewayOptions{Control: control})
			for _, q := range questions() {
				s.check(t, s.request(t, q, fine), answered(q))
			}
			if log := s.Log.String(); strings.Count(log, "requests are served without tools") != 1 {
				t.Errorf("the log does not say once that there are no tools:\n%s", log)
			}
		})
	}
}

// refusedAfterWait sends a request to a server that waits five seconds for its control plane, checks that it gets a 503 then,
// and returns the answer. It is for a bubble.
func refusedAfterWait(t *testing.T, pool aibridged.Pooler, dialer aibridged.Dialer) string {
	t.Helper()
	server, err := aibridged.NewServer(t.Context(), pool, dialer, aibridged.ServerOptions{ConnectWait: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	synctest.Wait()
	began := time.Now()
	w := httptest.NewRecorder()
	server.ServeHTTP(w, newRequest("/anthropic/v1/messages", "X-Api-Key", testkit.Token))
	if took := time.Since(began); w.Code != 503 || took != 5*time.Second {
		t.Errorf("%d %s after %v", w.Code, w.Body, took)
	}
	return w.Body.String()
}

// TestConnectWait loses the connection to the control plane for good: a request waits for it for as long as the option says.
func TestConnectWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		dialer := func(ctx context.Context) (aibridged.DRPCClient, error) {
			if dials++; dials == 1 {
				return &aibridged.Client{Conn: closedConn{}}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		pool := poolFunc(func(context.Context, aibridged.Request) (http.Handler, error) { return http.NotFoundHandler(), nil })
		if text := refusedAfterWait(t, pool, dialer); !strings.Contains(text, aibridged.ErrConnect.Error()) {
			t.Errorf("answer %s", text)
		}
	})
}

// silentClient has a connection that is open for a time, and never answers.
type silentClient struct {
	aibridged.Client
	proto.DRPCAuthorizerClient

	conn *silentConn
}

func (c *silentClient) DRPCConn() drpc.Conn { return c.conn }

func (c *silentClient) IsAuthorized(ctx context.Context, _ *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
	select {
	case <-c.conn.closed:
		return nil, drpcerr.WithCode(errors.New("connection lost"), 14)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type silentConn struct {
	drpc.Conn

	closed chan struct{}
	close  func() error
}

func (c *silentConn) Closed() <-chan struct{} { return c.closed }
func (c *silentConn) Close() error            { return c.close() }

// newSilentClient returns a client whose connection counts as lost after a time.
func newSilentClient(open time.Duration) *silentClient {
	conn := &silentConn{closed: make(chan struct{})}
	lose := sync.OnceFunc(func() { close(conn.closed) })
	conn.close = func() error { lose(); return nil }
	time.AfterFunc(open, lose)
	return &silentClient{conn: conn}
}

// TestConnectWaitCoversSilence has a control plane that does not answer, over connections that count as lost only later or again
// and again: a request waits for the answer and for connections no longer than the option says, together.
func TestConnectWaitCoversSilence(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]time.Duration{"until it is lost": 7 * time.Second, "lost at times": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dialer := func(context.Context) (aibridged.DRPCClient, error) { return newSilentClient(open), nil }
				pool := poolFunc(func(context.Context, aibridged.Request) (http.Handler, error) { return http.NotFoundHandler(), nil })
				server, err := aibridged.NewServer(t.Context(), pool, dialer, aibridged.ServerOptions{ConnectWait: 5 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				defer server.Close()
				synctest.Wait()
				refusals := make(chan *httptest.ResponseRecorder)
				began := time.Now()
				for range 3 { // With the same token: they share a question.
					go func() {
						w := httptest.NewRecorder()
						server.ServeHTTP(w, newRequest("/anthropic/v1/messages", "X-Api-Key", testkit.Token))
						refusals <- w
					}()
				}
				for range 3 {
					w := <-refusals
					if took := time.Since(began); w.Code != 503 || took != 5*time.Second || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), aibridged.ErrConnect.Error()) {
						t.Errorf("%d %s after %v", w.Code, w.Body, took)
					}
				}
			})
		})
	}
}

// TestConnectWaitCoversBoth has the control plane answer late, and a bridge then need another connection, which does not come.
func TestConnectWaitCoversBoth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		control := &testkit.ControlPlane{}
		lost := &silentConn{closed: make(chan struct{}), close: func() error { return nil }}
		control.Authorize = func(context.Context, *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
			time.Sleep(3 * time.Second)
			return &proto.IsAuthorizedResponse{OwnerId: "6f1d0c1e-5a0e-4c8c-9a51-0f0a6d6a2d10", ApiKeyId: "key"}, nil
		}
		dials := 0
		dialer := func(ctx context.Context) (aibridged.DRPCClient, error) {
			if dials++; dials > 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			client, err := controlplane.InProcess(control)(ctx)
			return &answeringClient{DRPCClient: client, conn: lost}, err
		}
		pool := poolFunc(func(context.Context, aibridged.Request) (http.Handler, error) {
			close(lost.closed)
			synctest.Wait()
			return nil, drpcerr.WithCode(errors.New("connection lost"), 14)
		})
		refusedAfterWait(t, pool, dialer)
	})
}

// answeringClient is a client with a connection of its own.
type answeringClient struct {
	aibridged.DRPCClient

	conn drpc.Conn
}

func (c *answeringClient) DRPCConn() drpc.Conn { return c.conn }
