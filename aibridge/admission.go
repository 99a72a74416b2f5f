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
type Admission struct{ gate *admission.Gate }

// NewAdmission returns an Admission with these limits.
func NewAdmission(limits AdmissionLimits) *Admission {
	return &Admission{admission.New(admission.Limits(limits))}
}

// gateOrNil returns the gate of an Admission; a nil gate lets all requests in.
func (a *Admission) gateOrNil() *admission.Gate {
	if a == nil {
		return nil
	}
	return a.gate
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
	if x.provider.gate == nil {
		return nil
	}
	var err error
	if x.pass, err = x.provider.gate.Enter(user, x.bridge.tellOfRefusals(user)); err == nil {
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
