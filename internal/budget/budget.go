// Package budget decides whether a user, and the groups of the user, may still spend what a request may cost.
//
//	ledger := budget.NewLedger(source, budget.Options{})
//	ledger.SetBudgets(budgets)
//	grant, err := ledger.Reserve(ctx, budget.Origin{Number: 1}, request) // A *[Refusal] error says what is spent and held.
//	…
//	ledger.End(budget.Origin{Number: 1}, ending)
//
// What was spent is read from a [Source], about once a second. To it comes what requests cost that have ended since. While a
// request runs, what it may cost at most is held. So:
//
//   - A request is refused as spent if the limit has been reached.
//   - Otherwise it is let in if no other request is running, or if what was spent, what is held and what it may cost are together
//     at most the limit.
//   - Otherwise it is refused as held.
//
// A budget can therefore be exceeded by what one request costs, and a budget that is smaller than that can be used. A request
// has to be allowed by all budgets that apply to it.
//
// The package reads no database and knows no prices, no calendar and no HTTP.
package budget

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Kind says whose budget it is.
type Kind string

// The kinds.
const (
	User  Kind = "user"
	Group Kind = "group"
)

// Subject is who has a budget.
type Subject struct {
	Kind Kind
	ID   string // The id of a user, or the name of a group.
}

// Budget is how much somebody may spend in a period.
type Budget struct {
	Subject

	Name   string // For people.
	Period string // A day, a week or a month, by its English name.
	Limit  Amount
}

// Whose says whose budget it is, for people.
func (b Budget) Whose() string { return string(b.Kind) + ` "` + shown(b.Name) + `"` }

// Source tells a [Ledger] what it needs to know. Its methods are called from many goroutines, and never while the ledger is locked.
type Source interface {
	// Groups returns the groups that a user belongs to now.
	Groups(ctx context.Context, user string) ([]string, error)
	// Spent returns what was spent of a budget in its present period, and what of it some interceptions cost: all as of one
	// moment, so that nothing is missed and nothing is there twice.
	Spent(ctx context.Context, of Budget, interceptions []uuid.UUID) (Snapshot, error)
	// Rates returns what the tokens of a request cost. If that is not known, it returns false.
	Rates(request Request) (Rates, bool)
	// Cost returns what a request cost that has ended.
	Cost(request Request, ending Ending) Amount
}

// Snapshot is what was spent of a budget at some moment.
type Snapshot struct {
	// From and To are the period that it is about.
	From, To time.Time
	Spent    Amount
	// Counted is what is in Spent of interceptions. Those that are not in it are not in Spent either.
	Counted map[uuid.UUID]Counted
}

// Counted is what is in a sum of one interception.
type Counted struct {
	Cost Amount
	// Over says that the interception has ended, and that all of it is counted.
	Over bool
}

// Warning tells that a good part of a budget is spent.
type Warning struct {
	Budget Budget
	Spent  Amount
	End    time.Time
	// All says that nothing is left. Otherwise, four fifths are spent.
	All bool
}
