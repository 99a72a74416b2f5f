package main

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/budget"
)

// budgetSource tells a ledger of budgets what the database and the prices say. It implements [budget.Source].
type budgetSource struct {
	reports *reports.Reports
	book    *prices.Book
	zone    *time.Location

	mu   sync.Mutex
	urls map[[2]string]string // The addresses of providers by name and type. Guarded by mu.
}

func (s *budgetSource) setURLs(urls map[[2]string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.urls = urls
}

// provider returns the provider of a request, as reports see it.
func (s *budgetSource) provider(r budget.Request) prices.Provider {
	s.mu.Lock()
	defer s.mu.Unlock()
	return prices.Provider{Name: r.ProviderName, Type: r.ProviderType, BaseURL: s.urls[[2]string{r.ProviderName, r.ProviderType}]}
}

// Groups implements [budget.Source].
func (s *budgetSource) Groups(ctx context.Context, user string) ([]string, error) {
	return s.reports.GroupsOf(ctx, user, time.Now())
}

// Spent implements [budget.Source].
func (s *budgetSource) Spent(ctx context.Context, of budget.Budget, interceptions []uuid.UUID) (budget.Snapshot, error) {
	period := aibridgedserver.BudgetPeriod(of.Period)
	over := reports.PeriodOf(period, time.Now(), s.zone)
	stored := aibridgedserver.Budget{Kind: aibridgedserver.BudgetKind(of.Kind), Subject: of.ID, Name: of.Name, Period: period}
	spent, counted, err := s.reports.SpentOf(ctx, stored, over, interceptions)
	if err != nil {
		return budget.Snapshot{}, err
	}
	found := budget.Snapshot{From: over.From, To: over.To, Spent: budget.Amount(spent), Counted: make(map[uuid.UUID]budget.Counted, len(counted))}
	for id, c := range counted {
		found.Counted[id] = budget.Counted{Cost: budget.Amount(c.Cost), Over: c.Over}
	}
	return found, nil
}

// Rates implements [budget.Source].
func (s *budgetSource) Rates(r budget.Request) (budget.Rates, bool) {
	found, known := s.book.Rates(prices.Asked{
		Provider: s.provider(r), Model: r.Model, At: r.Started, Wordless: r.Wordless,
		ServiceTier: r.ServiceTier, Speed: r.Speed, InferenceGeo: r.InferenceGeo,
	})
	if !known {
		return budget.Rates{}, false
	}
	rates := budget.Rates{Request: amountOf(found.Request)}
	for _, t := range found.Tiers {
		rates.Tiers = append(rates.Tiers, budget.Rate{Above: t.Above, Input: amountOf(t.Input), Output: amountOf(t.Output)})
	}
	return rates, true
}

// Cost implements [budget.Source]. Usages are priced as reports do, but for the calls of hosted tools that only the answer shows.
func (s *budgetSource) Cost(r budget.Request, ending budget.Ending) budget.Amount {
	of := prices.Usage{Provider: s.provider(r), Model: r.Model, At: r.Started, BYOK: r.BYOK, Delivered: ending.Delivered}
	sum := decimal.Zero
	for _, u := range ending.Usages {
		of.Input, of.Output, of.CacheRead, of.CacheWrite, of.Metadata = u.Input, u.Output, u.CacheRead, u.CacheWrite, u.Metadata
		sum = sum.Add(s.book.Cost(of).USD)
		of.Before += max(u.Output, 0)
	}
	return amountOf(sum)
}

// largestAmount bounds the amounts that are made of dollars: none of one request is nearly as large.
const largestAmount = 1_000_000

// amountOf returns a number of dollars, from 0 on, rounded up.
func amountOf(usd decimal.Decimal) budget.Amount {
	if usd.GreaterThan(decimal.NewFromInt(largestAmount)) {
		return largestAmount * budget.Dollar
	}
	return budget.Amount(usd.Shift(12).Ceil().IntPart())
}
