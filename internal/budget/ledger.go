package budget

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

const (
	// mostReservations bounds the memory of a ledger. Requests beyond it are refused, as if nothing were left for them.
	mostReservations = 100_000
	// newsWithin is how long a request that is held back waits for another one to end: a client that leaves its last request, or asks
	// one gateway after another, is faster than the news that this has ended.
	newsWithin = 200 * time.Millisecond
)

// Options are the optional settings of a [Ledger]; the zero value works.
type Options struct {
	// Warn is told once when four fifths of a budget are spent, and once when all of it is: again in each period. It must be
	// safe for concurrent use. Nil: nobody is told.
	Warn func(Warning)
	// Failed is told of what cannot be read, once until it succeeds. It must be safe for concurrent use. Nil: nobody is told.
	Failed func(error)
}

// Ledger knows what may still be spent. It is safe for concurrent use, and starts no goroutine.
type Ledger struct {
	source  Source
	options Options
	any     atomic.Bool // Somebody has a budget.

	mu           sync.Mutex
	accounts     map[Subject]*account // Of all budgets. Guarded by mu, like the fields below.
	groups       bool                 // One of them is of a group.
	members      map[string]*member   // By user.
	reservations map[Origin]*reservation
	ended        []*reservation       // In the order in which they have ended.
	gateways     map[string]time.Time // When each was heard of.
	swept        time.Time
	news         chan struct{} // Closed when the next request ends.
	failing      bool          // The latest reading failed.
}

// NewLedger returns a ledger without budgets.
func NewLedger(source Source, options Options) *Ledger {
	return &Ledger{
		source: source, options: options, accounts: map[Subject]*account{}, members: map[string]*member{}, reservations: map[Origin]*reservation{},
		gateways: map[string]time.Time{}, news: make(chan struct{}),
	}
}

// Origin names a request: its gateway, which is empty for one in this process, and the gateway's own number for it.
type Origin struct {
	Gateway string
	Number  int64
}

// state says what is known of what a request costs.
type state int

const (
	running   state = iota
	estimated       // It has ended, and nobody knows what it cost.
	settled         // It has ended, and this is what it cost.
)

// reservation is what a request may cost. The mutex of the ledger guards it.
type reservation struct {
	origin  Origin
	request Request
	started time.Time
	amount  Amount
	state   state
	endedAt time.Time
	in      []*account // The accounts that hold it.
}

func (r *reservation) interception() uuid.UUID { return r.request.Interception }

// Any reports whether anybody has a budget. It costs next to nothing.
func (l *Ledger) Any() bool { return l.any.Load() }

// SetBudgets makes these the budgets, in the place of those that were. Of a budget that has changed, what was spent and what is
// held stays.
func (l *Ledger) SetBudgets(budgets []Budget) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := map[Subject]*account{}
	l.groups = false
	for _, b := range budgets {
		a := l.accounts[b.Subject]
		if a == nil {
			a = &account{holds: map[*reservation]*hold{}}
		}
		a.budget = b
		now[b.Subject] = a
		l.groups = l.groups || b.Kind == Group
	}
	for subject, a := range l.accounts {
		if now[subject] == nil {
			for r := range a.holds {
				a.drop(r)
			}
		}
	}
	l.accounts = now
	l.any.Store(len(now) > 0)
}

// Grant is what a request that was let in is told.
type Grant struct {
	// Limited says that the user has a budget, or a group of the user.
	Limited bool
	// Rates are what the tokens of the request cost.
	Rates Rates
	// Leases are what the gateway may spend of each budget of the user while it cannot ask.
	Leases []Leased
}

// Leased is what a gateway may spend of a budget.
type Leased struct {
	Budget Budget
	Amount Amount
}

// Reserve holds what a request may cost, until End is told how it ended. It fails with a *[Refusal] if a budget does not allow
// it, for which it may take some 200 ms; any other error is that of ctx. A request that is free is let in, and nothing is held for
// it.
func (l *Ledger) Reserve(ctx context.Context, origin Origin, request Request) (Grant, error) {
	if !l.Any() {
		return Grant{}, nil
	}
	accounts, err := l.accountsOf(ctx, request.User)
	if err != nil || len(accounts) == 0 {
		return Grant{}, err
	}
	rates, known := l.source.Rates(request)
	if known && rates.Free() {
		return Grant{Limited: true, Rates: rates}, nil
	}
	asked := asking{origin, request, accounts, rates, known}
	news := time.NewTimer(newsWithin)
	defer news.Stop()
	for isLast := false; ; {
		for _, a := range accounts {
			if err := l.refresh(ctx, a); err != nil {
				return Grant{Limited: true}, err
			}
		}
		grant, another, err := l.try(asked)
		if refusal, ok := errors.AsType[*Refusal](err); isLast || !ok || refusal.Reason != Held {
			return grant, err
		}
		select {
		case <-another:
		case <-news.C:
			isLast = true
		case <-ctx.Done():
			return Grant{Limited: true}, context.Cause(ctx)
		}
	}
}

// asking is a request with the accounts that have to allow it, and what its tokens cost, if that is known.
type asking struct {
	origin   Origin
	request  Request
	accounts []*account
	rates    Rates
	known    bool
}

// try lets a request in, or says why not, and returns what is closed when another one ends.
func (l *Ledger) try(of asking) (Grant, <-chan struct{}, error) {
	origin, request, accounts, rates, known := of.origin, of.request, of.accounts, of.rates, of.known
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.sweep(now)
	var refused *Refusal
	estimate := rates.Estimate(request)
	for _, a := range accounts {
		refusal := a.judge(origin.Gateway, estimate, now)
		switch {
		case !known && (refusal == nil || refusal.Reason != Spent):
			refusal = a.refusal(now)
			refusal.Reason, refusal.Model = Unpriced, request.Model
		case refusal == nil && len(l.reservations) >= mostReservations:
			refusal = a.refusal(now)
			refusal.Reason, refusal.Estimate = Held, estimate
		}
		if refusal != nil && refusal.heavier(refused) {
			refused = refusal
		}
	}
	if refused != nil {
		return Grant{Limited: true}, l.news, refused
	}
	l.forget(l.reservations[origin]) // There is none, unless the gateway is wrong.
	r := &reservation{origin: origin, request: request, started: request.Started, amount: estimate}
	l.reservations[origin] = r
	grant := Grant{Limited: true, Rates: rates}
	for _, a := range accounts {
		r.in = append(r.in, a)
		a.put(r)
		if origin.Gateway != "" {
			grant.Leases = append(grant.Leases, Leased{a.budget, a.lend(origin.Gateway, now)})
		}
	}
	return grant, nil, nil
}

// accountsOf returns the accounts that a request of a user needs the consent of.
func (l *Ledger) accountsOf(ctx context.Context, user string) ([]*account, error) {
	var accounts []*account
	l.mu.Lock()
	if a := l.accounts[Subject{User, user}]; a != nil {
		accounts = append(accounts, a)
	}
	if !l.groups {
		l.mu.Unlock()
		return accounts, nil
	}
	l.mu.Unlock()
	groups, err := l.groupsOf(ctx, user)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, group := range groups {
		if a := l.accounts[Subject{Group, group}]; a != nil {
			accounts = append(accounts, a)
		}
	}
	return accounts, nil
}
