package admission

import (
	"context"
	"sync"
	"time"
)

// LeaseFor is how long what a gateway has of shared limits is its own after it was last heard of.
const LeaseFor = 10 * time.Second

// newsWithin is how long a request beyond a limit of requests at a time waits for another one to end: a client that asks one gateway
// after another is faster than the news that its last request has ended.
const newsWithin = 200 * time.Millisecond

// Ledger lets the requests of several gateways in through one gate. A gateway that is not heard of for [LeaseFor] is taken to
// have ended, and its requests with it. It is safe for concurrent use.
type Ledger struct {
	gate *Gate
	tell func(user string) Tell

	mu       sync.Mutex
	gateways map[string]*leases // By their ids. Guarded by mu, like the field below.
	ended    chan struct{}      // Closed when the next lease ends.
}

// leases are what a gateway has.
type leases struct {
	passes map[int64]Pass
	heard  time.Time
}

// NewLedger returns a ledger with these limits, or nil if there are none. Tell tells of refusals of a user: see [Tell].
func NewLedger(limits Limits, tell func(user string) Tell) *Ledger {
	gate := New(limits)
	if gate == nil {
		return nil
	}
	return &Ledger{gate: gate, tell: tell, gateways: map[string]*leases{}, ended: make(chan struct{})}
}

// Hear renews what a gateway has, ends the leases of its requests that have ended, and those of gateways that are silent.
// Requests that are not known are ignored.
func (l *Ledger) Hear(gateway string, ended ...int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hear(gateway, ended)
}

// Enter is Hear, and lets a request of a user in, or fails with a *[Refusal], for which it may take some 200 ms. If ctx ends before,
// it fails with its error. The gateway calls the request by a number that no other one of it has, so that it can end a lease also
// if it has not heard that it has it.
func (l *Ledger) Enter(ctx context.Context, gateway, user string, request int64, ended ...int64) error {
	news := time.NewTimer(newsWithin)
	defer news.Stop()
	for isLast := false; ; ended = nil {
		refusal, another := l.try(gateway, user, request, ended)
		if refusal == nil {
			return nil
		}
		if isLast || !refusal.Limit.ofConcurrent() {
			l.gate.refuse(user, refusal.Limit, l.tell(user))
			return refusal
		}
		select {
		case <-another:
		case <-news.C:
			isLast = true
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// try lets a request in, or says why not, and returns what is closed when another one ends.
func (l *Ledger) try(gateway, user string, request int64, ended []int64) (*Refusal, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.hear(gateway, ended)
	pass, refusal := l.gate.try(user)
	if refusal == nil {
		l.end(of, request) // It has none, unless the gateway is wrong.
		of.passes[request] = pass
	}
	return refusal, l.ended
}

// hear does what Hear does, and returns what the gateway has. The caller holds mu.
func (l *Ledger) hear(gateway string, ended []int64) *leases {
	now := time.Now()
	for id, silent := range l.gateways {
		if now.Sub(silent.heard) < LeaseFor {
			continue
		}
		for request := range silent.passes {
			l.end(silent, request)
		}
		delete(l.gateways, id)
	}
	of := l.gateways[gateway]
	if of == nil {
		of = &leases{passes: map[int64]Pass{}}
		l.gateways[gateway] = of
	}
	of.heard = now
	for _, request := range ended {
		l.end(of, request)
	}
	return of
}

// end ends the lease of a request, if it has one. The caller holds mu.
func (l *Ledger) end(of *leases, request int64) {
	if pass, known := of.passes[request]; known {
		delete(of.passes, request)
		pass.Leave()
		close(l.ended)
		l.ended = make(chan struct{})
	}
}
