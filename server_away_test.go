package aibridged_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
		server, err := aibridged.NewServer(t.Context(), pool, dialer, aibridged.ServerOptions{ConnectWait: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		synctest.Wait()
		began := time.Now()
		w := httptest.NewRecorder()
		server.ServeHTTP(w, newRequest("/anthropic/v1/messages", "X-Api-Key", testkit.Token))
		if took := time.Since(began); w.Code != 503 || took != 5*time.Second || !strings.Contains(w.Body.String(), aibridged.ErrConnect.Error()) {
			t.Errorf("%d %s after %v", w.Code, w.Body, took)
		}
	})
}
