package aibridged_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// TestControlPlaneLostDuringBuild has a control plane that is lost between the authorisation of a request and the build
// of its bridge. The gateway tries again, so one loss is not noticed; after more losses the client gets a 503.
func TestControlPlaneLostDuringBuild(t *testing.T) {
	t.Parallel()
	var losses atomic.Int64
	control := &testkit.ControlPlane{
		Configure: func(context.Context, *proto.GetMCPServerConfigsRequest) (*proto.GetMCPServerConfigsResponse, error) {
			if losses.Add(-1) >= 0 {
				return nil, drpcerr.WithCode(errors.New("connection lost"), 14)
			}
			return &proto.GetMCPServerConfigsResponse{}, nil
		},
	}
	s, _ := newFine(t, testkit.GatewayOptions{Control: control})
	q := question{messagesFormat(), true}

	losses.Store(10)
	response, err := s.client.Do(s.request(t, q, fine))
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
	}
	checkBody(t, response, `{"type":"error","error":{"type":"overloaded_error","message":"`+aibridged.ErrAcquireRequestHandler.Error()+`"}}`)

	losses.Store(1)
	s.check(t, s.request(t, q, fine), answered(q))
}
