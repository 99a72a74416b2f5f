// Package strangers bounds what tokens that are not valid cost whoever is asked about them.
//
//	gate := strangers.New(isRefusal)
//	err := gate.Ask(ctx, token, func(enter strangers.Enter) error {
//		leave, err := enter(ctx)
//		if err != nil {
//			return err
//		}
//		defer leave()
//		return ask(token)
//	})
//
// It does not remember that a token is valid in order to answer for it: each request with a valid token asks.
package strangers

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// refusedFor is how long a token that the control plane refused is refused without another question. It is short,
	// since a token may be made, or become known to all of a control plane, just after it was tried.
	refusedFor = 3 * time.Second
	// rememberedRefusals and rememberedTokens are how many tokens are remembered, refused and accepted.
	rememberedRefusals = 4096
	rememberedTokens   = 8192
	// strangersAsked is how many questions about tokens that are not known may run at a time.
	strangersAsked = 64
	// refusalRate is how many refusals a second may be given in the long run, and
	// refusalBurst how many at once.
	refusalRate  = 100
	refusalBurst = 400
	// longestTurn is how long a question waits for its turn once there have been more refusals than that.
	longestTurn = 2 * time.Second
)

var (
	// ErrRefused means that the token was refused a moment ago.
	ErrRefused = errors.New("this token was refused a moment ago")
	// ErrTooMany means that too many tokens are tried that are not valid.
	ErrTooMany = errors.New("too many tokens are tried that are not valid")
)

// Gate is what all questions about tokens pass. A refused token is not asked about again for three seconds. All other
// tokens that were never accepted, the strangers, share 64 questions at a time, and once 400 of them were refused, they
// are asked about in turn, 100 a second; those whose turn would come after more than two seconds fail. Tokens that were
// accepted are never held up.
//
// It holds hashes of tokens, never tokens. It is safe for concurrent use.
type Gate struct {
	isRefusal func(error) bool
	slots     chan struct{} // Holds a value for each question about a stranger that is running.

	mu       sync.Mutex
	accepted *simplelru.LRU[tokenHash, struct{}]  // Guarded by mu, like the fields below.
	refused  *simplelru.LRU[tokenHash, time.Time] // Until when.
	asked    map[tokenHash]*question              // One for each stranger whose request waits for an answer.
	budget   float64                              // How many refusals may come at once. It falls below zero by those that were running.
	filled   time.Time                            // When the budget was filled last.
	turn     time.Time                            // The last turn that was given out.
}

type tokenHash [sha256.Size]byte

// question is a question about a stranger's token, which other requests with the same token wait for.
type question struct {
	done chan struct{} // Closed when err and left are set.
	err  error
	left bool // The client whose request asked has left: the answer says nothing about the token.
}

// New returns a gate. IsRefusal says whether the error of a question means that the token is not valid. All other errors
// say nothing about it, and are not remembered.
func New(isRefusal func(error) bool) *Gate {
	accepted, err := simplelru.NewLRU[tokenHash, struct{}](rememberedTokens, nil)
	refused, err2 := simplelru.NewLRU[tokenHash, time.Time](rememberedRefusals, nil)
	if err := errors.Join(err, err2); err != nil {
		panic(err) // Cannot happen: only a size below one is an error.
	}
	return &Gate{
		isRefusal: isRefusal, slots: make(chan struct{}, strangersAsked), accepted: accepted, refused: refused, asked: map[tokenHash]*question{},
		budget: refusalBurst,
	}
}

// Enter is called before a question is put, and the function that it returns after the answer. It waits until the
// question may begin; if it may not, or if ctx ends, it returns an error.
type Enter func(ctx context.Context) (leave func(), err error)

// Freely is the [Enter] of a question that nothing holds up.
func Freely(context.Context) (leave func(), err error) { return func() {}, nil }

// Ask returns what ask returns, or [ErrRefused] without a call. Requests with the same token that come while it is asked
// about share a refusal. Ask waits for that until ctx ends, and then returns its cause.
func (g *Gate) Ask(ctx context.Context, token string, ask func(enter Enter) error) error {
	hash := tokenHash(sha256.Sum256([]byte(token)))
	for {
		q, isOurs, err := g.begin(hash)
		switch {
		case err != nil:
			return err
		case q == nil:
			err := ask(Freely)
			if err != nil {
				g.learn(hash, err)
			}
			return err
		case isOurs:
			return g.ask(ctx, hash, q, ask)
		}
		select {
		case <-q.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if q.err != nil && !q.left {
			return q.err
		}
		// The token was accepted, and so this request asks for itself. Or nobody has had an answer yet.
	}
}

// begin says what to do about a token: nothing if it was refused (err), ask freely if it was accepted (no question), ask
// as a stranger (a question of ours), or wait for a question of another request.
func (g *Gate) begin(hash tokenHash) (q *question, isOurs bool, err error) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.accepted.Contains(hash) {
		g.accepted.Get(hash) // It was used last.
		return nil, false, nil
	}
	if until, ok := g.refused.Peek(hash); ok && now.Before(until) {
		return nil, false, ErrRefused
	}
	if q := g.asked[hash]; q != nil {
		return q, false, nil
	}
	q = &question{done: make(chan struct{})}
	g.asked[hash] = q
	return q, true, nil
}

// ask asks about a stranger and tells those who wait for the answer.
func (g *Gate) ask(ctx context.Context, hash tokenHash, q *question, ask func(Enter) error) error {
	q.left = true // Also if ask panics.
	defer func() {
		g.mu.Lock()
		delete(g.asked, hash)
		g.mu.Unlock()
		close(q.done)
	}()
	err := ask(g.enter)
	g.learn(hash, err)
	q.err, q.left = err, ctx.Err() != nil
	return err
}

// learn remembers what was answered about a token. An error that is no refusal says nothing.
func (g *Gate) learn(hash tokenHash, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err == nil:
		g.accepted.Add(hash, struct{}{})
		g.refused.Remove(hash)
	case g.isRefusal(err):
		now := time.Now()
		g.accepted.Remove(hash)
		g.refused.Add(hash, now.Add(refusedFor))
		g.fill(now)
		g.budget--
	}
}

// enter waits until a question about a stranger may begin.
func (g *Gate) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-g.slots }
	if err := g.takeSlot(ctx); err != nil {
		return nil, err
	}
	wait, err := g.nextTurn()
	if err != nil {
		leave()
		return nil, err
	}
	if wait <= 0 {
		return leave, nil
	}
	leave() // Others must not wait for this one's turn.
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := g.takeSlot(ctx); err != nil {
		return nil, err
	}
	return leave, nil
}

func (g *Gate) takeSlot(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// nextTurn returns how long a question must wait: not at all unless too many tokens were refused.
func (g *Gate) nextTurn() (time.Duration, error) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fill(now); g.budget >= 1 {
		return 0, nil
	}
	turn := now
	if g.turn.After(now) {
		turn = g.turn
	}
	turn = turn.Add(time.Second / refusalRate)
	if turn.Sub(now) > longestTurn {
		return 0, ErrTooMany
	}
	g.turn = turn
	return turn.Sub(now), nil
}

// fill adds to the budget what the time since the last call has brought. The caller holds mu.
func (g *Gate) fill(now time.Time) {
	if !g.filled.IsZero() {
		g.budget = min(g.budget+refusalRate*now.Sub(g.filled).Seconds(), refusalBurst)
	}
	g.filled = now
}
