package aibridge

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/admission"
	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
)

// Budgets decides whether users may still spend what their requests may cost. Only recorded requests are asked about, each
// once, before anything of it is sent. It is called from many goroutines.
type Budgets interface {
	// Any reports whether anybody has a budget. It is asked for each request, so it must cost next to nothing.
	Any() bool
	// Reserve holds what a request may cost, and returns what is called once, when the request has ended, before its client
	// gets the last bytes. End is nil if nothing is held. If a budget does not allow the request, Reserve fails with a
	// *[BudgetRefusal]; any other error is for a request whose context has ended.
	Reserve(ctx context.Context, request BudgetRequest) (end func(BudgetEnding), err error)
}

// BudgetRequest is what is known of a request before it is sent.
type BudgetRequest struct {
	InterceptionID uuid.UUID
	UserID         string
	StartedAt      time.Time
	Provider       string // The provider's type.
	ProviderName   string
	Model          string // Empty: the request names none.
	Credential     CredentialKind

	// Bytes is the size of the body, uncoded.
	Bytes int64
	// MaxTokens is how many tokens one answer may have. Zero: the request does not say.
	MaxTokens int64
	// Answers is how many answers there are to be. Zero: the request does not say.
	Answers int64
	// Wordless says that the answer has no tokens, as with embeddings.
	Wordless bool
	// ServiceTier, Speed and InferenceGeo are how the request wants to be served. Empty: it does not say.
	ServiceTier, Speed, InferenceGeo string
}

// BudgetEnding is how a request ended. The zero BudgetEnding is of one that cost nothing.
type BudgetEnding struct {
	// Usages are those that were recorded. Whoever gets them does not change them.
	Usages []*TokenUsage
	// Delivered is how many bytes came of the upstream's answers.
	Delivered int64
	// Unmeasured says that there is no usage, though the request may have cost something: its answer was cut, or tells none.
	Unmeasured bool
}

// BudgetRefusal is the error of a request that a budget does not allow.
type BudgetRefusal struct {
	// Limit says in one word why, for metrics and logs. There are few of these.
	Limit string
	// Text is the message for the client. It holds nothing that could harm a terminal.
	Text string
	// RetryAfter is how long the client is told to wait.
	RetryAfter time.Duration
	// Spent says that it is of no use to try again before that.
	Spent bool
}

// Error implements error.
func (r *BudgetRefusal) Error() string { return r.Text }

// WithBudgets returns an Admission with the same limits, which asks budgets about the requests that these let in.
func (a *Admission) WithBudgets(budgets Budgets) *Admission {
	with := *a
	with.budgets = budgets
	return &with
}

// hasBudgets reports whether budgets are to be asked.
func (a *Admission) hasBudgets() bool { return a != nil && a.budgets != nil && a.budgets.Any() }

// readBounds reads what the request may cost, if anybody has a budget.
func (x *relay) readBounds(object jsonedit.Object, plain *body) {
	if !x.provider.limited.hasBudgets() {
		return
	}
	may := x.format.Bounds(object)
	x.asked = &BudgetRequest{
		Bytes: int64(len(plain.bytes)), MaxTokens: may.MaxTokens, Answers: may.Answers, Wordless: may.Wordless,
		ServiceTier: may.ServiceTier, Speed: may.Speed, InferenceGeo: may.InferenceGeo,
	}
}

// reserve asks for what the request may cost. Its error is an *[apierror.Error].
func (x *relay) reserve() error {
	if x.asked == nil {
		return nil
	}
	x.asked.InterceptionID, x.asked.UserID, x.asked.StartedAt = x.id, x.initiator, x.started
	var names naming
	x.asked.Provider, x.asked.ProviderName, x.asked.Credential = x.provider.kind, x.provider.name, x.credential.kind
	x.asked.Model = names.name(x.inspected.Model) // As it is recorded.
	var err error
	if x.reserved, err = x.provider.limited.budgets.Reserve(x.ctx, *x.asked); err == nil {
		return nil
	}
	refused, ok := errors.AsType[*BudgetRefusal](err)
	if !ok {
		return err
	}
	limit := admission.Limit(refused.Limit)
	x.bridge.options.Metrics.refused(limit)
	x.provider.limited.telling.Refused(x.initiator, limit, x.bridge.tellOfRefusals(x.initiator))
	return &apierror.Error{
		Status: http.StatusTooManyRequests, Text: refused.Text, RetryAfter: refused.RetryAfter, Quota: refused.Spent, Cause: errQuiet,
	}
}

// settleBudget says how the request ended, unless that has been said.
func (i *interception) settleBudget(ending BudgetEnding) {
	if i.reserved != nil {
		end := i.reserved
		i.reserved = nil
		end(ending)
	}
}

// spent returns how the interception ended, once it has concluded.
func (i *interception) spent(how outcome) BudgetEnding {
	failed := how.errorType != "" && how.errorType != ErrorTruncated && how.errorType != ErrorClientClosed
	return BudgetEnding{ // The upstream goes on with a request whose client has not waited for the answer.
		Usages: i.measured, Delivered: i.received.bytes, Unmeasured: len(i.measured) == 0 && i.sentAfter > 0 && !failed,
	}
}
