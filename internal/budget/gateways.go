package budget

import "time"

const (
	// SilentAfter is the time after which a gateway that is not heard of is taken to have ended, and its requests with it.
	SilentAfter = 10 * time.Second
	// LeaseSpan is how long a gateway may spend what it has leased.
	LeaseSpan = time.Minute
	// leasedPart says which part of what is left of a budget a gateway leases: a twentieth.
	leasedPart = 20
)

// Hear notes that a gateway is there, and ends what gateways had that are silent.
func (l *Ledger) Hear(gateway string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.gateways[gateway] = now
	l.sweep(now)
}
