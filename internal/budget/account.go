package budget

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// account is what is known of one budget. The mutex of the ledger guards it.
type account struct {
	budget Budget

	snapshot Snapshot
	readAt   time.Time     // When the reading of the snapshot began. Zero: there is none.
	period   string        // Of the budget that the snapshot is of.
	triedAt  time.Time     // When the latest reading began, whether it succeeded or not.
	failed   error         // Of the latest reading, if it failed.
	reading  chan struct{} // Closed when the reading that goes on has ended. Nil: none does.

	holds   map[*reservation]*hold
	held    total // For requests that are running, and for those of which nobody knows what they cost.
	settled total // Cost by requests that have ended, and not in the snapshot.
	running int

	leases map[string]lease // By gateway.
	told   warned
}

// hold is what a reservation adds to the sums of an account.
type hold struct {
	counted Amount // What of the request is in the snapshot.
	amount  Amount // What it adds to the sum of its state.
	state   state
	isIn    bool // It adds something: it began in the period of the snapshot.
}

// lease is what a gateway may spend while it cannot ask.
type lease struct {
	amount Amount
	until  time.Time
}

// warned is what was told of a budget.
type warned int

const (
	nothingTold warned = iota
	mostTold
	allTold
)

// isCurrent reports whether the snapshot is of the present period.
func (a *account) isCurrent(now time.Time) bool {
	return !a.readAt.IsZero() && a.period == a.budget.Period && now.Before(a.snapshot.To) && !now.Before(a.snapshot.From)
}

// isFresh reports whether nothing need be read. What could not be read is not tried again at once.
func (a *account) isFresh(now time.Time) bool {
	age := now.Sub(a.triedAt)
	return !a.triedAt.IsZero() && age >= 0 && age < readEvery && (a.failed != nil || a.isCurrent(now))
}

// put adds a reservation, or counts it anew after it has changed.
func (a *account) put(r *reservation) {
	h := a.holds[r]
	if h == nil {
		h = &hold{}
		a.holds[r] = h
	}
	a.take(h)
	h.state, h.isIn = r.state, !r.started.Before(a.snapshot.From)
	if !h.isIn {
		return // Its period is over, and so is what it is held for.
	}
	h.amount = max(r.amount-h.counted, 0)
	if h.state == running {
		h.amount = r.amount // What is counted is of rounds that have ended, and another one may cost as much.
	}
	a.sum(h.state).add(h.amount, 1)
	if h.state == running {
		a.running++
	}
}

// take takes what a hold adds away.
func (a *account) take(h *hold) {
	if !h.isIn {
		return
	}
	a.sum(h.state).add(h.amount, -1)
	if h.state == running {
		a.running--
	}
	h.isIn = false
}

func (a *account) sum(of state) *total {
	if of == settled {
		return &a.settled
	}
	return &a.held
}

// drop takes a reservation out.
func (a *account) drop(r *reservation) {
	if h := a.holds[r]; h != nil {
		a.take(h)
		delete(a.holds, r)
	}
	if n := slices.Index(r.in, a); n >= 0 {
		r.in = slices.Delete(r.in, n, n+1)
	}
}

// renew takes a snapshot. What is in it of the requests that are held is not held any longer.
func (a *account) renew(s Snapshot, began time.Time) {
	if !s.From.Equal(a.snapshot.From) || !s.To.Equal(a.snapshot.To) {
		a.told = nothingTold
	}
	a.snapshot, a.readAt, a.period = s, began, a.budget.Period
	for r, h := range a.holds {
		counted, known := s.Counted[r.interception()]
		if known && counted.Over {
			a.drop(r)
			continue
		}
		if known {
			h.counted = counted.Cost
		}
		a.put(r)
	}
}

// interceptions returns those that something is held for.
func (a *account) interceptions() []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(a.holds))
	for r := range a.holds {
		ids = append(ids, r.interception())
	}
	return ids
}

func (a *account) spent() Amount { return a.snapshot.Spent.plus(a.settled.amount()) }

// leased returns what other gateways may spend while they cannot ask.
func (a *account) leased(but string, now time.Time) (sum Amount) {
	for gateway, l := range a.leases {
		switch {
		case !now.Before(l.until):
			delete(a.leases, gateway)
		case gateway != but:
			sum = sum.plus(l.amount)
		}
	}
	return sum
}

// judge returns why a request of a gateway is refused that may cost so much, or nil.
func (a *account) judge(gateway string, estimate Amount, now time.Time) *Refusal {
	if !a.isCurrent(now) {
		return &Refusal{Reason: Unknown, Budget: a.budget, Now: now}
	}
	refusal := a.refusal(now)
	refusal.Held = refusal.Held.plus(a.leased(gateway, now))
	refusal.Estimate = estimate
	switch {
	case refusal.Spent >= a.budget.Limit:
		refusal.Reason = Spent
	case a.running == 0, refusal.Spent.plus(refusal.Held).plus(estimate) <= a.budget.Limit:
		return nil
	default:
		refusal.Reason = Held
	}
	return refusal
}

// refusal returns one with what is known of the budget.
func (a *account) refusal(now time.Time) *Refusal {
	r := &Refusal{Budget: a.budget, Now: now}
	if a.isCurrent(now) {
		r.Spent, r.Held, r.End = a.spent(), a.held.amount(), a.snapshot.To
	}
	return r
}

// lend leases a gateway a small part of what is left, in the place of what it had.
func (a *account) lend(gateway string, now time.Time) Amount {
	delete(a.leases, gateway)
	left := a.budget.Limit - min(a.spent().plus(a.held.amount()).plus(a.leased("", now)), a.budget.Limit)
	amount := left / leasedPart
	if amount > 0 {
		if a.leases == nil {
			a.leases = map[string]lease{}
		}
		a.leases[gateway] = lease{amount, now.Add(LeaseSpan)}
	}
	return amount
}

// warn returns what is to be told of the budget, or nil.
func (a *account) warn(now time.Time) *Warning {
	if !a.isCurrent(now) {
		return nil
	}
	level := nothingTold
	switch spent := a.spent(); {
	case spent >= a.budget.Limit:
		level = allTold
	case spent >= a.budget.Limit/5*4:
		level = mostTold
	}
	before := a.told
	a.told = level
	if level <= before {
		return nil
	}
	return &Warning{Budget: a.budget, Spent: a.spent(), End: a.snapshot.To, All: level == allTold}
}
