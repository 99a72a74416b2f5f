package admission

import (
	"sync"
	"time"
)

// LeaseFor is how long what a gateway has of shared limits is its own after it was last heard of.
const LeaseFor = 10 * time.Second

// Ledger lets the requests of several gateways in through one gate. A gateway that is not heard of for [LeaseFor] is taken to
// have ended, and its requests with it. It is safe for concurrent use.
type Ledger struct {
	gate *Gate

	mu       sync.Mutex
	gateways map[string]*leases // By their ids. Guarded by mu.
}

// leases are what a gateway has.
type leases struct {
	passes map[int64]Pass
	heard  time.Time
}

// NewLedger returns a ledger with these limits, or nil if there are none.
func NewLedger(limits Limits) *Ledger {
	gate := New(limits)
	if gate == nil {
		return nil
	}
	return &Ledger{gate: gate, gateways: map[string]*leases{}}
}

// Hear renews what a gateway has, ends the leases of its requests that have ended, and those of gateways that are silent.
// Requests that are not known are ignored.
func (l *Ledger) Hear(gateway string, ended ...int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hear(gateway, ended)
}

// Enter is Hear, and lets a request of a user in, or fails with a *[Refusal]. The gateway calls the request by a number that
// no other one of it has, so that it can end a lease also if it has not heard that it has it.
func (l *Ledger) Enter(gateway, user string, request int64, ended ...int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.hear(gateway, ended)
	pass, err := l.gate.Enter(user)
	if err != nil {
		return err
	}
	of.end(request) // It has none, unless the gateway is wrong.
	of.passes[request] = pass
	return nil
}

// hear does what Hear does, and returns what the gateway has. The caller holds mu.
func (l *Ledger) hear(gateway string, ended []int64) *leases {
	now := time.Now()
	for id, silent := range l.gateways {
		if now.Sub(silent.heard) < LeaseFor {
			continue
		}
		for _, pass := range silent.passes {
			pass.Leave()
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
		of.end(request)
	}
	return of
}

// end ends the lease of a request, if it has one.
func (l *leases) end(request int64) {
	if pass, known := l.passes[request]; known {
		delete(l.passes, request)
		pass.Leave()
	}
}
