package main

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"

	"cdr.dev/slog/v3"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

const (
	// renewEvery is the time between two signs of life to the control plane while requests have leases there. It is well
	// below the time after which they end.
	renewEvery = 3 * time.Second
	// enterPatience is how long a request waits for its lease.
	enterPatience = 2 * time.Second
)

// sharedLimits asks a control plane elsewhere whether requests are within the limits of all gateways together. A request about
// which it cannot be asked is let in: the control plane has just said who sends it. It implements [aibridge.SharedAdmission].
type sharedLimits struct {
	gateway string // An id of this run of the gateway.
	logger  slog.Logger

	mu        sync.Mutex
	client    aibridged.DRPCClient // The latest. Nil: there was none yet. Guarded by mu, like the fields below.
	unlimited bool                 // That client's control plane has no limits.
	failing   bool                 // The latest call failed.
	latest    int64                // The number of the latest request.
	held      int                  // How many requests have leases.
	ended     []int64              // Requests that have ended, of which the control plane has not been told.
	telling   underway

	reporter *reporter
}

// newSharedLimits starts to renew leases. The caller closes it, once no request is running.
func newSharedLimits(logger slog.Logger) *sharedLimits {
	s := &sharedLimits{gateway: rand.Text(), logger: logger, telling: underway{}, reporter: newReporter()}
	s.reporter.start(renewEvery, s.renew)
	return s
}

func (s *sharedLimits) close() { s.reporter.close() }

// connected says which client is used from now on.
func (s *sharedLimits) connected(client aibridged.DRPCClient) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client, s.unlimited = client, false
}

// Enter implements [aibridge.SharedAdmission].
func (s *sharedLimits) Enter(ctx context.Context, userID string) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, enterPatience)
	defer cancel()
	s.mu.Lock()
	s.latest++
	request, telling := s.latest, slices.Collect(maps.Keys(s.telling))
	s.mu.Unlock()
	answer := s.call(ctx, userID, request)
	if answer.GetLimit() != "" && len(telling) > 0 {
		// The control plane may not have known that a request has ended here before this one came.
		for _, told := range telling {
			<-told
		}
		answer = s.call(ctx, userID, request)
	}
	if answer.GetLimit() != "" {
		return nil, &aibridge.AdmissionRefusal{
			Limit: answer.GetLimit(), RetryAfter: max(time.Millisecond, time.Duration(answer.GetWaitMillis())*time.Millisecond),
		}
	}
	if answer == nil || answer.GetUnlimited() {
		return func() {}, nil
	}
	s.mu.Lock()
	s.held++
	s.mu.Unlock()
	return func() { s.leave(request) }, nil
}

// leave ends a request's lease. The next call tells the control plane of it, which is soon.
func (s *sharedLimits) leave(request int64) {
	s.mu.Lock()
	s.held--
	s.ended = append(s.ended, request)
	s.mu.Unlock()
	s.reporter.soon()
}

// call asks for a request's lease, or for none if user is empty, and tells the control plane which requests have ended. It
// returns nil if that cannot be asked, or has no limits.
func (s *sharedLimits) call(ctx context.Context, user string, request int64) *proto.EnterResponse {
	s.mu.Lock()
	client, ended := s.client, s.ended
	s.ended = nil
	if client == nil || s.unlimited { // What has ended was leased by another control plane.
		s.mu.Unlock()
		return nil
	}
	told := s.telling.begin(len(ended) > 0)
	s.mu.Unlock()
	answer, err := proto.NewDRPCAdmissionClient(client.DRPCConn()).Enter(ctx, &proto.EnterRequest{GatewayId: s.gateway, UserId: user, Lease: request, Ended: ended})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.telling.end(told)
	lacks := drpcerr.Code(err) == rpcstatus.Unimplemented
	if s.client == client {
		s.unlimited = lacks || answer.GetUnlimited()
	}
	failed := err != nil && !lacks
	if failed {
		s.ended = append(s.ended, ended...)
		if user != "" {
			s.ended = append(s.ended, request) // It may have a lease all the same.
		}
		if !s.failing && user != "" && ctx.Err() == nil {
			s.logger.Warn(ctx, "the control plane cannot be asked about limits of requests: they are let in", slog.Error(err))
		}
	}
	s.failing = failed
	if err != nil {
		return nil
	}
	return answer
}

// renew tells the control plane of leases that have ended, and that the gateway is alive as long as it has others.
func (s *sharedLimits) renew(ctx context.Context) {
	s.mu.Lock()
	idle := s.held == 0 && len(s.ended) == 0
	s.mu.Unlock()
	if !idle {
		s.call(ctx, "", 0)
	}
}
