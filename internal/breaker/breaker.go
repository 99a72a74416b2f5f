// Package breaker keeps requests from an upstream that fails: after many failures, they are refused at once for a while,
// and then a single one tries whether the upstream is back.
//
//	breaker := breakers.Of(breaker.Place{Provider: "openai", Route: "/v1/responses"}, breaker.Options{})
//	response, err := breaker.Send(ctx, send) // An *[Open] error: it was not sent.
//	if truncated { breaker.BrokeOff() }
//
// It does not send again what failed.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Options say when a breaker opens, and for how long. A zero field means its default.
type Options struct {
	// Failures is how many requests must fail within Window for the breaker to open, and at least half of all, or all of twice
	// as many in a row: 10.
	Failures int
	// Window is 30 s.
	Window time.Duration
	// Open is how long requests are refused before one tries again: 10 s.
	Open time.Duration
	// Off says that there is no breaker.
	Off bool
}

func (o Options) withDefaults() Options {
	if o.Failures <= 0 {
		o.Failures = 10
	}
	if o.Window <= 0 {
		o.Window = 30 * time.Second
	}
	if o.Open <= 0 {
		o.Open = 10 * time.Second
	}
	return o
}

// slices is how many parts a window has: the failures of the oldest are forgotten together.
const slices = 10

// retryProbe is how long a request is to wait that is refused while another one tries the upstream.
const retryProbe = time.Second

// Breaker stands before one route of a provider. It is safe for concurrent use. A nil Breaker lets everything through.
//
// What counts is how the answers begin: no answer or a status from 500 on is a failure, a status below 400 a success. Other
// statuses, requests whose context has ended, and errors that are excused (see [Excuse]), say nothing of the upstream, also if
// they were to try it: the next one tries then. An answer that breaks off later counts as a failure of its own.
type Breaker struct {
	circuit *gobreaker.CircuitBreaker[struct{}]

	opened  atomic.Int64 // When, as Unix time in nanoseconds.
	open    time.Duration
	untold  atomic.Bool // It has opened, and nobody has asked.
	trips   atomic.Uint64
	rejects atomic.Uint64
}

func newBreaker(options Options) *Breaker {
	options = options.withDefaults()
	b := &Breaker{open: options.Open}
	b.circuit = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Interval: options.Window, BucketPeriod: options.Window / slices, Timeout: options.Open,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			failures := uint32(options.Failures)
			return counts.TotalFailures >= failures && 2*counts.TotalFailures >= counts.Requests || counts.ConsecutiveFailures >= 2*failures
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errSilent) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				b.opened.Store(time.Now().UnixNano())
				b.trips.Add(1)
				b.untold.Store(true)
			}
		},
	})
	return b
}

// Open is the error of a request that was not sent.
type Open struct {
	// For is how long to wait before the next try, above zero.
	For time.Duration
}

// Error implements error.
func (o *Open) Error() string { return fmt.Sprintf("the breaker is open for another %s", o.For) }

// What requests say of an upstream beside nil, a success.
var (
	errFailed = errors.New("failed")
	errSilent = errors.New("nothing")
)

// excused is an error that says nothing of the upstream.
type excused struct{ error }

func (e excused) Unwrap() error { return e.error }

// Excuse returns err as an error of a request of which the upstream knows nothing, or to which it gave an answer that nobody
// may have: it does not say that the upstream fails.
func Excuse(err error) error { return excused{err} }

func outcomeOf(ctx context.Context, response *http.Response, err error) error {
	_, isExcused := errors.AsType[excused](err)
	switch {
	case err != nil && (ctx.Err() != nil || isExcused):
		return errSilent
	case err != nil, response.StatusCode >= http.StatusInternalServerError:
		return errFailed
	case response.StatusCode >= http.StatusBadRequest:
		return errSilent
	}
	return nil
}

// Send sends a request, and notes how its answer begins. It returns what send returns, or an *[Open] without a call. Ctx is
// the context of the request.
func (b *Breaker) Send(ctx context.Context, send func() (*http.Response, error)) (response *http.Response, err error) {
	if b == nil {
		return send()
	}
	if b.circuit.State() == gobreaker.StateClosed {
		response, err = send()
		// It is noted now and not for the time when it was sent, since it may have taken longer than the window.
		b.note(outcomeOf(ctx, response, err))
		return response, err
	}
	_, refused := b.circuit.Execute(func() (struct{}, error) {
		response, err = send()
		return struct{}{}, outcomeOf(ctx, response, err)
	})
	switch {
	case errors.Is(refused, gobreaker.ErrOpenState):
		b.rejects.Add(1)
		return nil, &Open{For: max(retryProbe, b.open-time.Since(time.Unix(0, b.opened.Load())))}
	case errors.Is(refused, gobreaker.ErrTooManyRequests):
		b.rejects.Add(1)
		return nil, &Open{For: retryProbe}
	}
	return response, err
}

// BrokeOff notes that an answer broke off after it had begun.
func (b *Breaker) BrokeOff() {
	if b != nil {
		b.note(errFailed)
	}
}

// note counts an outcome. While the breaker is not closed, only requests that try the upstream decide.
func (b *Breaker) note(outcome error) {
	if errors.Is(outcome, errSilent) || b.circuit.State() != gobreaker.StateClosed {
		return
	}
	_, _ = b.circuit.Execute(func() (struct{}, error) { return struct{}{}, outcome }) // The error is the outcome.
}

// HasOpened reports whether the breaker has opened since the last call.
func (b *Breaker) HasOpened() bool { return b != nil && b.untold.Load() && b.untold.Swap(false) }

// State is the state of a breaker as a number for metrics.
type State float64

// The states of a breaker.
const (
	Closed   State = 0
	HalfOpen State = 0.5
	IsOpen   State = 1
)

// Counts are what a breaker tells metrics.
type Counts struct {
	State   State
	Trips   uint64 // How often it has opened.
	Rejects uint64 // How many requests it has refused.
}

// Counts returns what metrics tell of the breaker.
func (b *Breaker) Counts() Counts {
	counts := Counts{Trips: b.trips.Load(), Rejects: b.rejects.Load()}
	switch b.circuit.State() {
	case gobreaker.StateOpen:
		counts.State = IsOpen
	case gobreaker.StateHalfOpen:
		counts.State = HalfOpen
	}
	return counts
}
