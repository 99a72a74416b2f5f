package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/internal/budget"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/proto"
)

// budgetsService asks the ledger of this control plane for gateways elsewhere. It implements [proto.DRPCBudgetsServer].
type budgetsService struct{ ledger *budget.Ledger }

// longestTold is how many bytes are kept of each text that a gateway tells of a request.
const longestTold = 1024

// Reserve implements [proto.DRPCBudgetsServer].
func (b *budgetsService) Reserve(ctx context.Context, in *proto.ReserveRequest) (*proto.ReserveResponse, error) {
	gateway := in.GetGatewayId()
	if gateway == "" || len(gateway) > longestGatewayID {
		return nil, drpcerr.WithCode(fmt.Errorf("a gateway's id has 1 to %d bytes", longestGatewayID), rpcstatus.InvalidArgument)
	}
	b.ledger.Hear(gateway)
	for _, ended := range in.GetEnded() {
		b.ledger.End(budget.Origin{Gateway: gateway, Number: ended.GetRequest()}, endingOf(ended))
	}
	answer := &proto.ReserveResponse{
		None: !b.ledger.Any(), SilentMillis: budget.SilentAfter.Milliseconds(), LeaseMillis: budget.LeaseSpan.Milliseconds(),
	}
	if in.GetUserId() == "" || answer.None {
		return answer, nil
	}
	request, err := requestOf(in)
	if err != nil {
		return nil, drpcerr.WithCode(err, rpcstatus.InvalidArgument)
	}
	grant, err := b.ledger.Reserve(ctx, budget.Origin{Gateway: gateway, Number: in.GetRequest()}, request)
	if refusal, ok := errors.AsType[*budget.Refusal](err); ok {
		answer.Refusal, answer.Text, answer.WaitMillis = string(refusal.Reason), refusal.Text(), refusal.RetryAfter().Milliseconds()
		answer.Spent = refusal.Final()
		return answer, nil
	}
	if err != nil {
		return nil, err
	}
	answer.Unlimited = !grant.Limited
	for _, l := range grant.Leases {
		answer.Leases = append(answer.Leases, &proto.BudgetLease{Budget: l.Budget.Whose(), Amount: int64(l.Amount)})
	}
	for _, r := range grant.Rates.Tiers {
		answer.Rates = append(answer.Rates, &proto.BudgetRate{Above: r.Above, Input: int64(r.Input), Output: int64(r.Output)})
	}
	answer.RequestRate = int64(grant.Rates.Request)
	return answer, nil
}

// requestOf returns a request as a ledger knows it.
func requestOf(in *proto.ReserveRequest) (budget.Request, error) {
	id, err := uuid.Parse(in.GetInterceptionId())
	if err != nil {
		return budget.Request{}, errors.New("the interception's id is no UUID")
	}
	if err := in.GetStartedAt().CheckValid(); err != nil {
		return budget.Request{}, fmt.Errorf("the start of the request: %w", err)
	}
	told := func(text string) string { return storable.Cut(text, longestTold) }
	return budget.Request{
		Interception: id, User: told(in.GetUserId()), Started: in.GetStartedAt().AsTime(), ProviderName: told(in.GetProviderName()),
		ProviderType: told(in.GetProvider()), Model: told(in.GetModel()), BYOK: in.GetByok(), Bytes: in.GetBytes(), MaxTokens: in.GetMaxTokens(),
		Answers: in.GetAnswers(), Wordless: in.GetWordless(),
		ServiceTier: told(in.GetServiceTier()), Speed: told(in.GetSpeed()), InferenceGeo: told(in.GetInferenceGeo()),
	}, nil
}

// endingOf returns how a request ended as a ledger knows it.
func endingOf(ended *proto.EndedRequest) budget.Ending {
	ending := budget.Ending{Delivered: ended.GetDelivered(), Unmeasured: ended.GetUnmeasured()}
	for _, u := range ended.GetUsages() {
		ending.Usages = append(ending.Usages, budget.Usage{
			Input: u.GetInputTokens(), Output: u.GetOutputTokens(), CacheRead: u.GetCacheReadInputTokens(), CacheWrite: u.GetCacheWriteInputTokens(),
			Metadata: []byte(u.GetMetadata()),
		})
	}
	return ending
}
