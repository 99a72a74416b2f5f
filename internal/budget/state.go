package budget

import "time"

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
