package budget

import (
	"fmt"
	"strings"
	"time"

	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/internal/visible"
)

// Reason says why a request is refused.
type Reason string

// The reasons, in the order of their weight: of several refusals, the first one is told.
const (
	Spent    Reason = "budget_spent"    // Nothing is left.
	Unpriced Reason = "budget_unpriced" // Nobody knows what the request would cost.
	Unknown  Reason = "budget_unknown"  // What was spent cannot be read at the moment.
	Held     Reason = "budget_held"     // Something is left, but requests that are running may need it.
)

// Reasons returns all reasons.
func Reasons() []Reason { return []Reason{Spent, Unpriced, Unknown, Held} }

const (
	// leastSpentWait and mostHeldWait are the bounds of how long a client is told to wait. Clients wait out a minute, and give up where
	// they are told more.
	leastSpentWait = 61 * time.Second
	heldWait       = 10 * time.Second
)

// Refusal is the error of a request that a budget does not allow.
type Refusal struct {
	Reason Reason
	Budget Budget
	// Spent is what was spent, that of requests which have ended just now included, and Held what is held for others.
	Spent, Held Amount
	// Estimate is what the request itself may cost.
	Estimate Amount
	// End is when the period ends, in the time zone of budgets. Zero: it is not known.
	End time.Time
	// Model is the model without a price.
	Model string
	// Now is when the request was refused.
	Now time.Time
}

// Error implements error.
func (r *Refusal) Error() string { return r.Text() }

// Final reports whether it is of no use to try again before the period ends.
func (r *Refusal) Final() bool { return r.Reason == Spent || r.Reason == Unpriced }

// RetryAfter returns how long the client is told to wait.
func (r *Refusal) RetryAfter() time.Duration {
	if !r.Final() {
		return heldWait
	}
	return max(leastSpentWait, r.End.Sub(r.Now))
}

// Text returns what the client is told. It holds no text that could harm a terminal.
func (r *Refusal) Text() string {
	whose := r.Budget.Whose()
	figures := fmt.Sprintf("spent %s, held %s, limit %s this %s", r.Spent, r.Held, r.Budget.Limit, r.Budget.Period)
	renewed := "it is renewed at the end of the " + r.Budget.Period
	if !r.End.IsZero() {
		renewed = fmt.Sprintf("it is renewed at %s (%s)", r.End.Format("2006-01-02 15:04 -07:00"), r.End.Location())
	}
	switch r.Reason {
	case Spent:
		return fmt.Sprintf("the budget of %s is spent: %s; %s", whose, figures, renewed)
	case Unpriced:
		model := "a request that names no model"
		if r.Model != "" {
			model = `the model "` + shown(r.Model) + `"`
		}
		return fmt.Sprintf("%s has no known price, and there is a budget of %s, so it is refused; `prices:` in the gateway's configuration gives a model a price (%s; %s)",
			model, whose, figures, renewed)
	case Unknown:
		return fmt.Sprintf("what is left of the budget of %s cannot be read at the moment: try again", whose)
	default:
		return fmt.Sprintf("what is left of the budget of %s is held for requests that are running: %s, and this request may cost up to %s: try again; %s",
			whose, figures, r.Estimate, renewed)
	}
}

// heavier reports whether this refusal is told rather than another one.
func (r *Refusal) heavier(than *Refusal) bool {
	if than == nil {
		return true
	}
	if a, b := r.weight(), than.weight(); a != b {
		return a > b
	}
	if r.Reason == Held {
		return r.left() < than.left()
	}
	return r.End.After(than.End)
}

func (r *Refusal) weight() int {
	switch r.Reason {
	case Spent:
		return 3
	case Unpriced:
		return 2
	case Unknown:
		return 1
	default:
		return 0
	}
}

func (r *Refusal) left() Amount { return r.Budget.Limit - min(r.Spent.plus(r.Held), r.Budget.Limit) }

// longestShown is how many bytes of a name are shown.
const longestShown = 128

// shown returns a name as it may be shown, in one line.
func shown(name string) string {
	return strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' {
			return ' '
		}
		return c
	}, visible.Text(storable.Cut(name, longestShown)))
}
