package budget

import (
	"context"
	"slices"
	"time"
)

const (
	// keepEnded is how long a request that has ended counts if what it cost is not read.
	keepEnded = 10 * time.Minute
	// sweepEvery is how often it is looked for what can be forgotten.
	sweepEvery = time.Second
)

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
