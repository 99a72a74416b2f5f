package budget

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

const (
	// readEvery is how old what was read may be.
	readEvery = time.Second
	// sweepEvery is how often it is looked for what can be forgotten.
	sweepEvery = time.Second
	// readPatience bounds a reading.
	readPatience = 5 * time.Second
	// keepEnded is how long a request that has ended counts if what it cost is not read.
	keepEnded = 10 * time.Minute
	// mostReservations bounds the memory of a ledger. Requests beyond it are refused, as if nothing were left for them.
	mostReservations = 100_000
	// newsWithin is how long a request of a gateway that is held back waits for another one to end: a client that asks one gateway
	// after another is faster than the news that its last request has ended.
	newsWithin = 200 * time.Millisecond
	// mostMembers is of how many users the groups are remembered.
	mostMembers = 10_000
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

// member is a user with the groups that the user belongs to.
type member struct {
	groups  []string
	triedAt time.Time // When the latest reading began.
	failed  error
	reading chan struct{} // As in an account.
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
// it, for which it may take some 200 ms if the request comes from a gateway elsewhere; any other error is that of ctx. A request that is free is let in, and nothing is held for it.
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
	for isLast := origin.Gateway == ""; ; { // A request in this process has ended before its client knows.
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

// End says how a request ended. What it cost counts until it is read. A request that is not known is ignored.
func (l *Ledger) End(origin Origin, ending Ending) {
	l.mu.Lock()
	r := l.reservations[origin]
	l.mu.Unlock()
	if r == nil {
		return
	}
	cost, state := Amount(0), settled
	if len(ending.Usages) > 0 {
		cost = min(l.source.Cost(r.request, ending), mostReserved)
	} else if ending.Unmeasured {
		state = estimated
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reservations[origin] != r {
		return
	}
	if state == settled {
		r.amount = cost
	}
	l.end(r, state)
}

// end notes that a request has ended. The caller holds mu.
func (l *Ledger) end(r *reservation, as state) {
	close(l.news)
	l.news = make(chan struct{})
	if r.amount == 0 {
		l.forget(r)
		return
	}
	wasRunning := r.state == running
	r.state = as
	for _, a := range r.in {
		a.put(r)
	}
	if len(r.in) == 0 { // All of it has been read by now.
		l.forget(r)
		return
	}
	if wasRunning {
		r.endedAt = time.Now()
		l.ended = append(l.ended, r)
	}
}

// forget takes a reservation out of all accounts. The caller holds mu.
func (l *Ledger) forget(r *reservation) {
	if r == nil {
		return
	}
	for len(r.in) > 0 {
		r.in[0].drop(r)
	}
	if l.reservations[r.origin] == r {
		delete(l.reservations, r.origin)
	}
}

// sweep forgets what has been read, what ended too long ago, and ends what gateways had that are silent. The caller holds mu.
func (l *Ledger) sweep(now time.Time) {
	if age := now.Sub(l.swept); age >= 0 && age < sweepEvery {
		return
	}
	l.swept = now
	for gateway, heard := range l.gateways {
		if now.Sub(heard) < SilentAfter {
			continue
		}
		delete(l.gateways, gateway)
		for origin, r := range l.reservations {
			if origin.Gateway == gateway && r.state == running {
				l.end(r, estimated)
			}
		}
	}
	l.ended = slices.DeleteFunc(l.ended, func(r *reservation) bool {
		if len(r.in) > 0 && now.Sub(r.endedAt) < keepEnded {
			return false
		}
		l.forget(r)
		return true
	})
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

// groupsOf returns the groups of a user. If they cannot be read and are not remembered, it fails with a *[Refusal].
func (l *Ledger) groupsOf(ctx context.Context, user string) ([]string, error) {
	l.mu.Lock()
	m := l.members[user]
	if m == nil {
		if len(l.members) >= mostMembers {
			clear(l.members)
		}
		m = &member{}
		l.members[user] = m
	}
	isFresh := func(now time.Time) bool { return !m.triedAt.IsZero() && now.Sub(m.triedAt) < readEvery }
	for m.reading != nil {
		if err := l.await(ctx, m.reading); err != nil {
			return nil, err
		}
	}
	if !isFresh(time.Now()) {
		done := make(chan struct{})
		m.reading, m.triedAt = done, time.Now()
		l.mu.Unlock()
		groups, err := l.readGroups(ctx, user)
		l.mu.Lock()
		m.reading, m.failed = nil, err
		close(done)
		if err == nil {
			m.groups = groups
		}
	}
	defer l.mu.Unlock()
	if m.failed != nil && m.groups == nil {
		return nil, &Refusal{Reason: Unknown, Budget: Budget{Subject: Subject{User, user}, Name: user}, Now: time.Now()}
	}
	return m.groups, nil
}

// await waits for a reading. It is called with mu and returns with it, unless it fails.
func (l *Ledger) await(ctx context.Context, reading <-chan struct{}) error {
	l.mu.Unlock()
	select {
	case <-reading:
		l.mu.Lock()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *Ledger) readGroups(ctx context.Context, user string) (groups []string, err error) {
	defer l.note(&err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readPatience) // Others wait for it, too.
	defer cancel()
	groups, err = l.source.Groups(ctx, user)
	if groups == nil {
		groups = []string{}
	}
	return groups, err
}

// refresh reads an account anew if it is not fresh. What cannot be read is as it was. Its error is that of ctx.
func (l *Ledger) refresh(ctx context.Context, a *account) error {
	l.mu.Lock()
	for a.reading != nil {
		if err := l.await(ctx, a.reading); err != nil {
			return err
		}
	}
	now := time.Now()
	if a.isFresh(now) {
		l.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	a.reading, a.triedAt = done, now
	budget, ids := a.budget, a.interceptions()
	l.mu.Unlock()
	snapshot, err := l.readSpent(ctx, budget, ids)
	l.mu.Lock()
	a.reading, a.failed = nil, err
	close(done)
	if a.budget.Period != budget.Period { // It has changed meanwhile.
		a.triedAt = time.Time{}
		l.mu.Unlock()
		return l.refresh(ctx, a)
	}
	var warning *Warning
	if err == nil {
		a.renew(snapshot, now)
		warning = a.warn(time.Now())
	}
	l.mu.Unlock()
	if warning != nil && l.options.Warn != nil {
		l.options.Warn(*warning)
	}
	return nil
}

func (l *Ledger) readSpent(ctx context.Context, of Budget, ids []uuid.UUID) (s Snapshot, err error) {
	defer l.note(&err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readPatience) // Others wait for it, too.
	defer cancel()
	return l.source.Spent(ctx, of, ids)
}

// errPanicked is the error of a reading that has panicked.
var errPanicked = errors.New("the reading has panicked")

// note tells of the error of a reading, if the one before it had none.
func (l *Ledger) note(err *error) {
	if recover() != nil {
		*err = errPanicked
	}
	l.mu.Lock()
	isFirst := *err != nil && !l.failing
	l.failing = *err != nil
	l.mu.Unlock()
	if isFirst && l.options.Failed != nil {
		l.options.Failed(*err)
	}
}

// Tick does what no request waits for: it forgets what is old, and reads what requests that have ended cost, so that nothing is
// held once nothing is running. It is to be called every some seconds.
func (l *Ledger) Tick(ctx context.Context) {
	l.mu.Lock()
	l.sweep(time.Now())
	var waiting []*account
	for _, a := range l.accounts {
		if len(a.holds) > a.running {
			waiting = append(waiting, a)
		}
	}
	l.mu.Unlock()
	for _, a := range waiting {
		if l.refresh(ctx, a) != nil {
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.swept = time.Time{}
	l.sweep(time.Now())
}

// State says how many budgets there are, and what is held for requests.
type State struct {
	// Below, Near and Spent are how many budgets are spent by less than four fifths, by more, and as a whole. Those that nobody
	// has asked for in their present period count as below.
	Below, Near, Spent int
	// Held is what is held, and Waiting is what requests cost that have ended, and that is not read yet. What counts for several
	// budgets counts several times.
	Held, Waiting Amount
	// Requests is how many requests there are of either kind.
	Requests int
}

// State returns what the ledger knows.
func (l *Ledger) State() (s State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, a := range l.accounts {
		spent := a.spent()
		switch {
		case !a.isCurrent(now), spent < a.budget.Limit/5*4:
			s.Below++
		case spent < a.budget.Limit:
			s.Near++
		default:
			s.Spent++
		}
		s.Held, s.Waiting = s.Held.plus(a.held.amount()), s.Waiting.plus(a.settled.amount())
	}
	s.Requests = len(l.reservations)
	return s
}

// Held returns what is held of a budget for requests that are running, or whose cost is not known.
func (l *Ledger) Held(of Subject) Amount {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.accounts[of]; a != nil {
		return a.held.amount()
	}
	return 0
}
