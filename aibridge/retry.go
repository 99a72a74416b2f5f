package aibridge

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/keys"
)

// RetryOptions say how often a recorded request is sent again, after a pause, that its upstream did not take. The zero value is
// never: clients try again by themselves.
//
// It is sent again only if it was certainly not worked on: a refused connection, 429 for a limit that passes, 503 and 529; only
// before an answer of any round has begun; and not while the breaker is open. If another key is ready, that comes first, without
// a pause. A pause lasts as long as the answer's Retry-After says or, if it says nothing, half a second and twice as long each
// time. What is passed through is never sent again.
type RetryOptions struct {
	// Attempts is how often it is sent again, 10 times at most.
	Attempts int
	// MaxWait is the longest pause. If the answer asks for a longer one, the client gets the answer. Zero means 10 s.
	MaxWait time.Duration
}

const (
	// mostRetries is the largest [RetryOptions.Attempts].
	mostRetries = 10
	// defaultRetryWait is the default of [RetryOptions.MaxWait].
	defaultRetryWait = 10 * time.Second
	// firstPause is the pause after the first sending if its answer asks for none.
	firstPause = 500 * time.Millisecond
)

// withDefaults fails if an option cannot be.
func (o RetryOptions) withDefaults() (RetryOptions, error) {
	switch {
	case o.Attempts < 0, o.Attempts > mostRetries:
		return o, fmt.Errorf("attempts is %d: it must be from 0 to %d", o.Attempts, mostRetries)
	case o.MaxWait < 0:
		return o, fmt.Errorf("the longest wait is %s: it must not be negative", o.MaxWait)
	case o.MaxWait == 0:
		o.MaxWait = defaultRetryWait
	}
	return o, nil
}

// send sends the request upstream, and again as often as [RetryOptions] allow, and returns when an answer begins.
func (x *relay) send() (*http.Response, error) {
	x.continued()
	for retries := 0; ; retries++ {
		answer, err := x.sendWithKeys()
		if !x.pauseBefore(retries, answer, err) || !x.keyIsReady() {
			return answer, err
		}
		if answer != nil {
			timer := time.AfterFunc(longestRefusal, func() { _ = answer.Body.Close() })
			text, _ := readRefusal(answer)
			timer.Stop()
			x.endRefused(answer, text)
		}
	}
}

// pauseBefore waits until the request may be sent again. It returns false, without a pause or during it, if it may not.
func (x *relay) pauseBefore(retries int, answer *http.Response, err error) bool {
	policy := x.provider.retries
	if retries >= policy.Attempts || x.isLater() {
		return false
	}
	wait, passes := x.passes(answer, err)
	if wait <= 0 {
		wait = min(firstPause<<retries, policy.MaxWait)
		wait -= rand.N(wait/2 + 1) // So that those who were refused together do not come back together.
	}
	if !passes || wait > policy.MaxWait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.ctx.Done():
		return false
	}
}

// passes reports whether the request was not worked on, for a reason that passes, and how long to wait. Zero: nothing says so.
func (x *relay) passes(answer *http.Response, err error) (time.Duration, bool) {
	if err != nil {
		if resting, ok := errors.AsType[*keys.Resting](apierror.From(err).Cause); ok {
			return resting.For, resting.State == keys.Limited
		}
		return 0, errors.Is(err, syscall.ECONNREFUSED)
	}
	said := keys.Answer{Status: answer.StatusCode, Header: answer.Header}
	if said.Status == http.StatusTooManyRequests {
		_, said.Body = readRefusal(answer)
	}
	wait, passes := keys.Passes(said)
	if x.keyed.pool != nil {
		wait = max(wait, x.keyed.pool.Rests(x.keyed.choice))
	}
	return wait, passes
}

// keyIsReady chooses the key for the next sending.
func (x *relay) keyIsReady() bool {
	return x.keyed.pool == nil || x.useKey(x.keyed.choose()) == nil
}
