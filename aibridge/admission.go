package aibridge

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/admission"
	"github.com/coder/aibridged/internal/apierror"
)

// AdmissionLimits are limits of recorded requests, over all providers that share an [Admission]. Zero means none.
type AdmissionLimits struct {
	// Concurrent is how many requests are served at a time, and PerMinute how many begin in a minute; as many may come at
	// once. A request beyond them is answered with 503.
	Concurrent, PerMinute int
	// UserConcurrent and UserPerMinute are the same for each user. A request beyond them is answered with 429.
	UserConcurrent, UserPerMinute int
}

// Admission refuses requests beyond limits, with Retry-After. It is safe for concurrent use.
type Admission struct {
	gate    *admission.Gate
	shared  SharedAdmission    // Nil: there are no limits but its own.
	budgets Budgets            // Nil: there are none.
	telling *admission.Telling // Of requests that budgets refuse.
}

// SharedAdmission lets requests in within limits that hold for several gateways together.
type SharedAdmission interface {
	// Enter lets a request of a user in, and returns what is called once, when it has ended. If it is beyond a limit, Enter
	// fails with an *[AdmissionRefusal]; any other error is for a request whose context has ended. It is called from many
	// goroutines.
	Enter(ctx context.Context, userID string) (leave func(), err error)
}

// AdmissionRefusal is the error of a request that is beyond a limit.
type AdmissionRefusal struct {
	// Limit is concurrent, per_minute, user_concurrent or user_per_minute.
	Limit string
	// RetryAfter is how long the client is told to wait.
	RetryAfter time.Duration
}

// Error implements error.
func (r *AdmissionRefusal) Error() string { return "beyond the limit " + r.Limit }

// NewAdmission returns an Admission with these limits.
func NewAdmission(limits AdmissionLimits) *Admission {
	return &Admission{gate: admission.New(admission.Limits(limits)), telling: &admission.Telling{}}
}

// WithShared returns an Admission with the same limits, which asks shared about the requests that these let in.
func (a *Admission) WithShared(shared SharedAdmission) *Admission {
	with := *a
	with.shared = shared
	return &with
}

// pass is a request that was let in. The zero pass is none.
type pass struct {
	own    admission.Pass
	shared func() // Nil: there are no shared limits.
}

func (p pass) leave() {
	p.own.Leave()
	if p.shared != nil {
		p.shared()
	}
}

// enter lets a request in. Who keeps the shared limits tells of what these refuse.
func (a *Admission) enter(ctx context.Context, user string, tell admission.Tell) (p pass, err error) {
	if p.own, err = a.gate.Enter(user, tell); err != nil || a.shared == nil {
		return p, err
	}
	p.shared, err = a.shared.Enter(ctx, user)
	if err == nil {
		return p, nil
	}
	p.own.Leave()
	if refused, ok := errors.AsType[*AdmissionRefusal](err); ok {
		err = &admission.Refusal{Limit: admission.Limit(refused.Limit), For: refused.RetryAfter}
	}
	return pass{}, err
}

// tellOfRefusals returns what writes a line to the log about requests of a user that were refused.
func (b *RequestBridge) tellOfRefusals(user string) admission.Tell {
	return func(limit admission.Limit, refused int) {
		b.options.Logger.Warn(context.Background(), "requests of a user are refused: they are beyond a limit",
			slog.F("initiator_id", user), slog.F("limit", string(limit)), slog.F("refused", refused))
	}
}

// errQuiet is the cause of a refusal that is not to be logged: it is told of once a minute.
var errQuiet = errors.New("beyond a limit")

// enter asks for admission. Its error is an *[apierror.Error].
func (x *relay) enter(user string) error {
	if x.provider.limited == nil {
		return nil
	}
	var err error
	if x.pass, err = x.provider.limited.enter(x.ctx, user, x.bridge.tellOfRefusals(user)); err == nil {
		return nil
	}
	refused, ok := errors.AsType[*admission.Refusal](err)
	if !ok {
		return err
	}
	x.bridge.options.Metrics.refused(refused.Limit)
	// net/http waits for the rest of an unread body before it answers; the deadline bounds that wait.
	_ = x.client.controller.SetReadDeadline(time.Now().Add(x.provider.limits.RequestBodyIdle))
	refusal := &apierror.Error{
		Status: http.StatusServiceUnavailable, Text: "the gateway is serving as many requests as it may: try again", RetryAfter: refused.For, Cause: errQuiet,
	}
	if refused.Limit.OfUser() {
		refusal.Status, refusal.Text = http.StatusTooManyRequests, "you have as many requests as you may have: try again"
	}
	return refusal
}
