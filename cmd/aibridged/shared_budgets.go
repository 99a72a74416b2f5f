package main

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/budget"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

const (
	// tellBudgetsEvery is the time between two calls to the control plane while no request makes one. So long, at most, a gateway does
	// not know that there are budgets now.
	tellBudgetsEvery = time.Second
	// mostEndedBytes is how much a call tells of requests that have ended.
	mostEndedBytes = 1 << 20
	// mostEnded is of how many such requests a gateway remembers what to tell. Of others, the control plane finds what they cost among
	// the records.
	mostEnded = 10_000
)

// sharedBudgets asks a control plane elsewhere what users may still spend. While it cannot be asked, the gateway spends what it has
// leased, and then refuses. It implements [aibridge.Budgets].
type sharedBudgets struct {
	gateway string // An id of this run of the gateway.
	logger  slog.Logger
	none    atomic.Bool // Nobody has a budget, as far as is known.

	mu      sync.Mutex
	client  aibridged.DRPCClient  // The latest. Nil: there was none yet. Guarded by mu, like the fields below.
	lacks   bool                  // That client's control plane knows no budgets.
	failing bool                  // The latest call failed.
	latest  int64                 // The number of the latest request.
	ended   []*proto.EndedRequest // Of which the control plane has not been told.
	telling underway
	leases  budgetLeases

	reporter *reporter
}

// newSharedBudgets starts to tell the control plane of requests that have ended. The caller closes it, once no request is running.
func newSharedBudgets(logger slog.Logger) *sharedBudgets {
	s := &sharedBudgets{gateway: rand.Text(), logger: logger, telling: underway{}, leases: newBudgetLeases(), reporter: newReporter()}
	// It also learns whether anybody has a budget.
	s.reporter.start(tellBudgetsEvery, func(ctx context.Context) { s.call(ctx, nil, 0) })
	return s
}

func (s *sharedBudgets) close() { s.reporter.close() }

// connected says which client is used from now on.
func (s *sharedBudgets) connected(client aibridged.DRPCClient) {
	s.mu.Lock()
	s.client, s.lacks = client, false
	s.mu.Unlock()
	s.reporter.soon()
}

// Any implements [aibridge.Budgets].
func (s *sharedBudgets) Any() bool { return !s.none.Load() }

// Reserve implements [aibridge.Budgets].
func (s *sharedBudgets) Reserve(ctx context.Context, request aibridge.BudgetRequest) (end func(aibridge.BudgetEnding), err error) {
	asking, cancel := context.WithTimeout(ctx, enterPatience)
	defer cancel()
	s.mu.Lock()
	s.latest++
	number, telling := s.latest, slices.Collect(maps.Keys(s.telling))
	s.mu.Unlock()
	asked := time.Now()
	answer, failed := s.call(asking, &request, number)
	if answer.GetRefusal() != "" && !answer.GetSpent() && len(telling) > 0 {
		// The control plane may not have known that a request has ended here before this one came.
		for _, told := range telling {
			<-told
		}
		asked = time.Now()
		answer, failed = s.call(asking, &request, number)
	}
	switch {
	case failed && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case failed:
		return s.spendLease(request, number)
	case answer == nil, answer.GetNone():
		return nil, nil
	case answer.GetRefusal() != "":
		return nil, &aibridge.BudgetRefusal{
			Limit: knownReason(answer.GetRefusal()), Text: answer.GetText(), Spent: answer.GetSpent(),
			RetryAfter: max(time.Second, time.Duration(answer.GetWaitMillis())*time.Millisecond),
		}
	}
	s.mu.Lock()
	s.leases.take(request, answer, asked)
	s.mu.Unlock()
	if len(answer.GetLeases()) == 0 {
		return nil, nil // Nothing is held.
	}
	return func(ending aibridge.BudgetEnding) { s.tellEnd(number, ending) }, nil
}

// knownReason returns why a request is refused as metrics know it: a control plane of another version may have other reasons.
func knownReason(text string) string {
	if reason := budget.Reason(text); slices.Contains(budget.Reasons(), reason) {
		return text
	}
	return string(budget.Held)
}

// spendLease lets a request in about which the control plane cannot be asked, if the gateway has leased what it may cost.
func (s *sharedBudgets) spendLease(request aibridge.BudgetRequest, number int64) (end func(aibridge.BudgetEnding), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	back, err := s.leases.spend(request, time.Now())
	if back == nil {
		s.keep(&proto.EndedRequest{Request: number}) // The control plane may have let it in.
		return nil, err
	}
	return func(ending aibridge.BudgetEnding) {
		s.mu.Lock()
		back(ending)
		s.mu.Unlock()
		s.tellEnd(number, ending) // As above.
	}, nil
}

// tellEnd tells the control plane how a request has ended, with the next call, which is soon.
func (s *sharedBudgets) tellEnd(number int64, ending aibridge.BudgetEnding) {
	told := &proto.EndedRequest{Request: number, Delivered: ending.Delivered, Unmeasured: ending.Unmeasured}
	for _, u := range budgetEnding(ending).Usages {
		told.Usages = append(told.Usages, &proto.UsedTokens{
			InputTokens: u.Input, OutputTokens: u.Output, CacheReadInputTokens: u.CacheRead, CacheWriteInputTokens: u.CacheWrite, Metadata: string(u.Metadata),
		})
	}
	s.mu.Lock()
	s.keep(told)
	s.mu.Unlock()
	s.reporter.soon()
}

// keep remembers what to tell. The caller holds mu.
func (s *sharedBudgets) keep(ended ...*proto.EndedRequest) {
	s.ended = append(s.ended, ended...)
	if more := len(s.ended) - mostEnded; more > 0 {
		s.ended = slices.Delete(s.ended, 0, more)
	}
}

// call asks for a request, or for none if it is nil, and tells the control plane which requests have ended. Without an answer,
// failed says that it could not be asked; else it knows no budgets.
func (s *sharedBudgets) call(ctx context.Context, request *aibridge.BudgetRequest, number int64) (answer *proto.ReserveResponse, failed bool) {
	s.mu.Lock()
	client := s.client
	if client == nil || s.lacks {
		s.ended = nil // It was another control plane that let them in.
		s.mu.Unlock()
		return nil, client == nil
	}
	ended := s.takeEnded()
	told := s.telling.begin(len(ended) > 0)
	s.mu.Unlock()
	in := &proto.ReserveRequest{GatewayId: s.gateway, Ended: ended}
	if request != nil {
		in = reserveRequest(*request)
		in.GatewayId, in.Request, in.Ended = s.gateway, number, ended
	}
	answer, err := proto.NewDRPCBudgetsClient(client.DRPCConn()).Reserve(ctx, in)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.telling.end(told)
	lacks := drpcerr.Code(err) == rpcstatus.Unimplemented
	if s.client == client && (err == nil || lacks) {
		s.lacks = lacks
		s.none.Store(lacks || answer.GetNone())
	}
	failed = err != nil && !lacks
	if failed {
		s.keep(ended...)
		if !s.failing && request != nil && ctx.Err() == nil {
			s.logger.Warn(ctx, "the control plane cannot be asked about budgets: the gateway spends what it has leased, and then refuses", slog.Error(err))
		}
	}
	s.failing = failed
	if err != nil {
		return nil, failed
	}
	return answer, false
}

// takeEnded returns what the next call tells of requests that have ended. The caller holds mu.
func (s *sharedBudgets) takeEnded() []*proto.EndedRequest {
	bytes, n := 0, 0
	for n < len(s.ended) && (n == 0 || bytes < mostEndedBytes) {
		bytes += protobuf.Size(s.ended[n])
		n++
	}
	ended := s.ended[:n:n]
	if s.ended = s.ended[n:]; len(s.ended) > 0 {
		s.reporter.soon()
	}
	return ended
}

// reserveRequest returns a request as the contract has it.
func reserveRequest(r aibridge.BudgetRequest) *proto.ReserveRequest {
	return &proto.ReserveRequest{
		UserId: r.UserID, InterceptionId: r.InterceptionID.String(), StartedAt: timestamppb.New(r.StartedAt), Provider: r.Provider, ProviderName: r.ProviderName,
		Model: r.Model, Byok: r.Credential == aibridge.CredentialBYOK, Bytes: r.Bytes, MaxTokens: r.MaxTokens, Answers: r.Answers, Wordless: r.Wordless,
		ServiceTier: r.ServiceTier, Speed: r.Speed, InferenceGeo: r.InferenceGeo,
	}
}
