package main

import (
	"context"
	"sync"
	"time"

	"cdr.dev/slog/v3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/budget"
)

const (
	// budgetsLook is the time between two looks for changes of budgets.
	budgetsLook = time.Second
	// budgetsReread is after how many looks budgets are read in any case.
	budgetsReread = 60
	// budgetsTick is after how many looks the ledger does what no request waits for. Costs are derived as often.
	budgetsTick = int(digestEvery / budgetsLook)
)

// planeBudgets are the budgets of a control plane in this process: a ledger that knows them.
type planeBudgets struct {
	ledger *budget.Ledger
	source *budgetSource
	store  *store
	logger slog.Logger

	seen    [2]int64 // The numbers of the changes of budgets and of providers that are known.
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// startBudgets reads the budgets, and goes on to as they change. The caller closes them.
func startBudgets(ctx context.Context, store *store, of *reports.Reports, book *prices.Book, zone *time.Location, logger slog.Logger) (*planeBudgets, error) {
	if err := store.SetBudgetZone(ctx, zone.String()); err != nil {
		return nil, err
	}
	b := &planeBudgets{source: &budgetSource{reports: of, book: book, zone: zone}, store: store, logger: logger, seen: [2]int64{-1, -1}}
	b.ledger = budget.NewLedger(b.source, budget.Options{Warn: b.warn, Failed: func(err error) {
		logger.Warn(context.Background(), "what is left of budgets cannot be read, what was read before counts", slog.Error(err))
	}})
	if err := b.look(ctx, true); err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.running.Go(func() { b.run(running) })
	return b, nil
}

func (b *planeBudgets) run(ctx context.Context) {
	ticker := time.NewTicker(budgetsLook)
	defer ticker.Stop()
	failing := false
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		err := b.look(ctx, n%budgetsReread == 0)
		if err != nil && !failing && ctx.Err() == nil {
			b.logger.Warn(ctx, "changes of budgets cannot be seen, it is tried again", slog.Error(err))
		}
		failing = err != nil
		if n%budgetsTick == 0 {
			b.ledger.Tick(ctx)
		}
	}
}

// look reads the budgets if they have changed, or in any case.
func (b *planeBudgets) look(ctx context.Context, anyway bool) error {
	var seen [2]int64
	var err error
	if seen[0], err = b.store.BudgetChanges(ctx); err != nil {
		return err
	}
	if seen[1], err = b.store.ConfigurationChanges(ctx); err != nil {
		return err
	}
	if seen == b.seen && !anyway {
		return nil
	}
	urls, err := b.source.reports.ProviderURLs(ctx)
	if err != nil {
		return err
	}
	b.source.setURLs(urls)
	stored, err := b.store.Budgets(ctx)
	if err != nil {
		return err
	}
	budgets := make([]budget.Budget, len(stored))
	for i, s := range stored {
		budgets[i] = budgetOf(s)
	}
	b.ledger.SetBudgets(budgets)
	b.seen = seen
	return nil
}

// budgetOf returns a budget as a ledger knows it.
func budgetOf(stored aibridgedserver.Budget) budget.Budget {
	return budget.Budget{
		Subject: budget.Subject{Kind: budget.Kind(stored.Kind), ID: stored.Subject}, Name: stored.Name, Period: string(stored.Period),
		Limit: budget.Amount(stored.Limit),
	}
}

// warn logs that a good part of a budget is spent.
func (b *planeBudgets) warn(w budget.Warning) {
	text := "four fifths of a budget are spent"
	if w.All {
		text = "a budget is spent: requests are refused until it is renewed"
	}
	b.logger.Warn(context.Background(), text, slog.F("kind", string(w.Budget.Kind)), slog.F("name", shown(w.Budget.Name, 128)), slog.F("period", w.Budget.Period),
		slog.F("spent", w.Spent.String()), slog.F("limit", w.Budget.Limit.String()), slog.F("renewed", w.End))
}

// metrics returns what operators see of budgets.
func (b *planeBudgets) metrics() []prometheus.Collector {
	return []prometheus.Collector{budgetMetrics{b.ledger}}
}

// budgetMetrics are the metrics of a ledger.
type budgetMetrics struct{ ledger *budget.Ledger }

// Describe implements [prometheus.Collector].
func (m budgetMetrics) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, to) }

// Collect implements [prometheus.Collector].
func (m budgetMetrics) Collect(to chan<- prometheus.Metric) {
	state := m.ledger.State()
	budgets := prometheus.NewDesc("budgets", "Budgets, by how much is spent of them: less than four fifths, more, or all.", []string{"state"}, nil)
	for name, n := range map[string]int{"below": state.Below, "near": state.Near, "spent": state.Spent} {
		to <- prometheus.MustNewConstMetric(budgets, prometheus.GaugeValue, float64(n), name)
	}
	usd := func(name, help string, amount budget.Amount) {
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, float64(amount)/float64(budget.Dollar))
	}
	usd("budgets_held_usd", "What budgets hold for requests that are running.", state.Held)
	usd("budgets_waiting_usd", "What requests cost that have ended, and that is not among the costs yet.", state.Waiting)
}

// close ends what works on the budgets.
func (b *planeBudgets) close() {
	b.cancel()
	b.running.Wait()
}
