package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/budget"
)

// ownBudgets asks the ledger of the control plane in this process. It implements [aibridge.Budgets].
type ownBudgets struct {
	ledger *budget.Ledger
	latest atomic.Int64 // The number of the latest request.
}

// Any implements [aibridge.Budgets].
func (o *ownBudgets) Any() bool { return o.ledger.Any() }

// Reserve implements [aibridge.Budgets].
func (o *ownBudgets) Reserve(ctx context.Context, request aibridge.BudgetRequest) (end func(aibridge.BudgetEnding), err error) {
	origin := budget.Origin{Number: o.latest.Add(1)}
	grant, err := o.ledger.Reserve(ctx, origin, budgetRequest(request))
	if refusal, ok := errors.AsType[*budget.Refusal](err); ok {
		return nil, &aibridge.BudgetRefusal{
			Limit: string(refusal.Reason), Text: refusal.Text(), RetryAfter: refusal.RetryAfter(), Spent: refusal.Final(),
		}
	}
	if err != nil || !grant.Limited {
		return nil, err
	}
	return func(ending aibridge.BudgetEnding) { o.ledger.End(origin, budgetEnding(ending)) }, nil
}

// budgetRequest returns a request as a ledger knows it.
func budgetRequest(r aibridge.BudgetRequest) budget.Request {
	return budget.Request{
		Interception: r.InterceptionID, User: r.UserID, Started: r.StartedAt, ProviderName: r.ProviderName, ProviderType: r.Provider, Model: r.Model,
		BYOK: r.Credential == aibridge.CredentialBYOK, Bytes: r.Bytes, MaxTokens: r.MaxTokens, Answers: r.Answers, Wordless: r.Wordless,
		ServiceTier: r.ServiceTier, Speed: r.Speed, InferenceGeo: r.InferenceGeo,
	}
}

// budgetEnding returns how a request ended as a ledger knows it.
func budgetEnding(e aibridge.BudgetEnding) budget.Ending {
	ending := budget.Ending{Delivered: e.Delivered, Unmeasured: e.Unmeasured}
	for _, u := range e.Usages {
		metadata, err := json.Marshal(u.Metadata)
		if err != nil {
			metadata = nil // It holds nothing that JSON does not.
		}
		ending.Usages = append(ending.Usages, budget.Usage{
			Input: u.InputTokens, Output: u.OutputTokens, CacheRead: u.CacheReadInputTokens, CacheWrite: u.CacheWriteInputTokens, Metadata: metadata,
		})
	}
	return ending
}
