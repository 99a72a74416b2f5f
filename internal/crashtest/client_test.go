package crashtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/aibridged/aibridge"
)

// answerMax is larger than any answer of these tests.
const answerMax = 1 << 20

// client sends one request after the other. It behaves as SDKs do: after a 503 it waits for as long as Retry-After
// says.
type client struct {
	name   string
	rng    *rand.Rand
	http   *http.Client
	base   string // The gateway's base URL.
	user   string
	token  string // Of the user.
	ledger *ledger

	pace     func() pace
	padding  int           // For each ask.
	patience time.Duration // After this time an answer counts as one that never comes.
	eager    bool          // It comes back sooner than Retry-After says.
	restless bool          // It ends its connection after one of eight requests.
}

// run sends requests until ctx ends, and then finishes the last one. The end of abort cancels that one too.
func (c *client) run(ctx, abort context.Context) {
	for number := 0; ctx.Err() == nil; number++ {
		model := fmt.Sprintf("%s-%06d", c.name, number)
		a := attempt{ask: newAsk(c.rng, model, c.pace()), user: c.user, began: time.Now()}
		a.padding = c.padding
		c.ledger.note(a)
		wait := c.try(abort, &a)
		a.ended = time.Now()
		c.ledger.note(a)
		pause(ctx, wait)
	}
}

// try makes an attempt, and returns how long to wait before the next one.
func (c *client) try(abort context.Context, a *attempt) time.Duration {
	ctx, cancel := context.WithTimeoutCause(abort, c.patience, errHung)
	defer cancel()
	request, err := http.NewRequestWithContext(withRoute(ctx, a), http.MethodPost, c.base+aibridge.RootPath+a.format.path, strings.NewReader(a.body()))
	if err != nil {
		a.outcome, a.detail = wrong, err.Error()
		return 0
	}
	request.GetBody = nil // So that net/http does not send it twice.
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/json")
	request.Close = c.restless && c.rng.IntN(8) == 0
	response, err := c.http.Do(request)
	if err != nil {
		return c.broke(ctx, a, err)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, answerMax))
	_ = response.Body.Close()
	switch {
	case response.StatusCode == http.StatusServiceUnavailable && err == nil:
		return c.refused(a, response, body)
	case response.StatusCode == http.StatusOK && a.isWhole(body):
		a.outcome, a.received = whole, sumOf(body)
		return upTo(c.rng, 5*time.Millisecond)
	case err != nil:
		return c.broke(ctx, a, err)
	}
	a.outcome = wrong
	a.detail = fmt.Sprintf("status %d with %d bytes that end in good order and are no whole answer: %.300q", response.StatusCode, len(body), body)
	return time.Second
}

var errHung = errors.New("no answer, or no end of one, within the client's patience")

// broke notes an answer that broke off or did not come, and returns how long to wait.
func (c *client) broke(ctx context.Context, a *attempt, err error) time.Duration {
	a.outcome, a.detail = broken, err.Error()
	if errors.Is(context.Cause(ctx), errHung) {
		a.outcome, a.detail = wrong, fmt.Sprintf("%v: %v", errHung, err)
	}
	return between(c.rng, 20*time.Millisecond, 60*time.Millisecond)
}

// refused notes a 503 and returns how long to wait. A 503 of the gateway has a Retry-After and an error in the shape of
// its API.
func (c *client) refused(a *attempt, response *http.Response, body []byte) time.Duration {
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	a.outcome, a.detail = unavailable, string(body)
	if err != nil || seconds < 1 {
		a.outcome = wrong
		a.detail = fmt.Sprintf("503 with Retry-After %q: %.300q", response.Header.Get("Retry-After"), body)
	}
	if c.eager {
		return between(c.rng, 50*time.Millisecond, 150*time.Millisecond)
	}
	return time.Duration(seconds) * time.Second
}
