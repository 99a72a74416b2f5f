package main

import (
	"fmt"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/budget"
	"github.com/coder/aibridged/proto"
)

const (
	// mostKnownUsers is of how many users a gateway remembers which budgets are for them.
	mostKnownUsers = 10_000
	// mostKnownRates is for how many kinds of requests a gateway remembers the rates: clients choose the names of models.
	mostKnownRates = 1_000
	// mostKnownLeases is how many leases a gateway remembers.
	mostKnownLeases = 10_000
)

// budgetLeases are what a gateway may spend of budgets while it cannot ask its control plane. The mutex of [sharedBudgets] guards
// them.
type budgetLeases struct {
	users  map[string][]string     // The budgets that are for a user. None: the user may spend without limit.
	leases map[string]*budgetLease // By budget.
	rates  map[ratedKind]budget.Rates
}

// budgetLease is what is left of a lease.
type budgetLease struct {
	left  budget.Amount
	until time.Time
}

// ratedKind are requests whose tokens cost the same.
type ratedKind struct {
	providerName, provider, model    string
	wordless                         bool
	serviceTier, speed, inferenceGeo string
}

func kindOf(r aibridge.BudgetRequest) ratedKind {
	return ratedKind{r.ProviderName, r.Provider, r.Model, r.Wordless, r.ServiceTier, r.Speed, r.InferenceGeo}
}

func newBudgetLeases() budgetLeases {
	return budgetLeases{users: map[string][]string{}, leases: map[string]*budgetLease{}, rates: map[ratedKind]budget.Rates{}}
}

// take remembers what an answer says to a request that was asked at some time.
func (l *budgetLeases) take(r aibridge.BudgetRequest, answer *proto.ReserveResponse, asked time.Time) {
	if len(l.users) >= mostKnownUsers {
		clear(l.users)
	}
	if answer.GetUnlimited() {
		l.users[r.UserID] = nil
		return
	}
	rates := budget.Rates{Request: budget.Amount(answer.GetRequestRate())}
	for _, rate := range answer.GetRates() {
		rates.Tiers = append(rates.Tiers, budget.Rate{Above: rate.GetAbove(), Input: budget.Amount(rate.GetInput()), Output: budget.Amount(rate.GetOutput())})
	}
	if len(l.rates) >= mostKnownRates {
		clear(l.rates)
	}
	l.rates[kindOf(r)] = rates
	if len(answer.GetLeases()) == 0 { // It is free, so no budget was asked.
		return
	}
	if len(l.leases) >= mostKnownLeases {
		clear(l.leases)
	}
	var of []string
	until := asked.Add(time.Duration(answer.GetLeaseMillis()) * time.Millisecond)
	for _, lease := range answer.GetLeases() {
		of = append(of, lease.GetBudget())
		l.leases[lease.GetBudget()] = &budgetLease{budget.Amount(lease.GetAmount()), until}
	}
	l.users[r.UserID] = of
}

// spend takes what a request may cost from the leases of its user, or returns why it cannot. Back gives back what it has not
// cost.
func (l *budgetLeases) spend(r aibridge.BudgetRequest, now time.Time) (back func(aibridge.BudgetEnding), err error) {
	of, known := l.users[r.UserID]
	if known && len(of) == 0 {
		return nil, nil
	}
	rates, priced := l.rates[kindOf(r)]
	if priced && rates.Free() {
		return nil, nil
	}
	if !known || !priced {
		return nil, unreachable("what may still be spent")
	}
	estimate := rates.Estimate(budgetRequest(r))
	leases := make([]*budgetLease, len(of))
	for i, name := range of {
		leases[i] = l.leases[name]
		if leases[i] == nil || !now.Before(leases[i].until) || leases[i].left < estimate {
			return nil, unreachable("what is left of the budget of " + name)
		}
	}
	for _, lease := range leases {
		lease.left -= estimate
	}
	return func(ending aibridge.BudgetEnding) {
		cost := estimate
		if len(ending.Usages) > 0 || !ending.Unmeasured {
			cost = 0
		}
		for _, u := range ending.Usages {
			cost += rates.Cost(u.InputTokens+u.CacheReadInputTokens+u.CacheWriteInputTokens, u.OutputTokens)
		}
		for _, lease := range leases {
			lease.left += estimate - cost
		}
	}, nil
}

// unreachableWait is how long a client is told to wait that is refused because the control plane cannot be asked.
const unreachableWait = 10 * time.Second

// unreachable returns the refusal of a request about which the control plane cannot be asked.
func unreachable(what string) *aibridge.BudgetRefusal {
	return &aibridge.BudgetRefusal{
		Limit: "budget_unreachable", RetryAfter: unreachableWait,
		Text: fmt.Sprintf("the control plane cannot be asked %s, and what this gateway may spend meanwhile is held or spent: try again", what),
	}
}
