package aibridged

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/xerrors"

	"github.com/coder/aibridged/internal/apierror"
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
	// refusalRate is how many refusals a second the control plane may be made to give in the long run, and
	// refusalBurst how many at once.
	refusalRate  = 100
	refusalBurst = 400
	// longestTurn is how long a question waits for its turn once there have been more refusals than that.
	longestTurn = 2 * time.Second
)

var (
	errRefusedBefore    = xerrors.New("the control plane refused this token a moment ago")
	errTooManyStrangers = xerrors.New("too many requests with tokens that the control plane refuses")
)

// strangers bounds what invalid tokens cost the control plane. A refused token is not asked about again for
// [refusedFor]. All other tokens that were never accepted share a bounded number of questions at a time, and once too
// many of them were refused, they are asked about in turn, [refusalRate] a second; those whose turn would come too late
// get a 503. Tokens that were accepted are never held up; the control plane is still asked about each of their requests.
//
// It holds hashes of tokens, never tokens. It is safe for concurrent use.
type strangers struct {
	slots chan struct{} // Holds a value for each question about a stranger that is running.

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

func newStrangers() *strangers {
	accepted, err := simplelru.NewLRU[tokenHash, struct{}](rememberedTokens, nil)
	refused, err2 := simplelru.NewLRU[tokenHash, time.Time](rememberedRefusals, nil)
	if err := errors.Join(err, err2); err != nil {
		panic(err) // Cannot happen: only a size below one is an error.
	}
	return &strangers{
		slots: make(chan struct{}, strangersAsked), accepted: accepted, refused: refused, asked: map[tokenHash]*question{}, budget: refusalBurst,
	}
}

// authorize returns what ask returns, or an error without asking. Ask gets the function to call before the control plane
// is asked: it may wait for others, and its result must be called after the answer.
func (s *strangers) authorize(ctx context.Context, token string, ask func(enter enterFunc) (owner, error)) (owner, error) {
	hash := tokenHash(sha256.Sum256([]byte(token)))
	for {
		q, isOurs, err := s.begin(hash)
		switch {
		case err != nil:
			return owner{}, err
		case q == nil:
			found, err := ask(enterFreely)
			if err != nil {
				s.learn(hash, err)
			}
			return found, err
		case isOurs:
			return s.ask(ctx, hash, q, ask)
		}
		select {
		case <-q.done:
		case <-ctx.Done():
			return owner{}, unavailable(context.Cause(ctx))
		}
		if q.err != nil && !q.left {
			return owner{}, q.err
		}
		// The token was accepted, and so this request asks for itself. Or nobody has had an answer yet.
	}
}

// begin says what to do about a token: nothing if it was refused (err), ask freely if it was accepted (no question), ask
// as a stranger (a question of ours), or wait for a question of another request.
func (s *strangers) begin(hash tokenHash) (q *question, isOurs bool, err error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accepted.Contains(hash) {
		s.accepted.Get(hash) // It was used last.
		return nil, false, nil
	}
	if until, ok := s.refused.Peek(hash); ok && now.Before(until) {
		return nil, false, unauthorized(errRefusedBefore)
	}
	if q := s.asked[hash]; q != nil {
		return q, false, nil
	}
	q = &question{done: make(chan struct{})}
	s.asked[hash] = q
	return q, true, nil
}

// ask asks about a stranger and tells those who wait for the answer.
func (s *strangers) ask(ctx context.Context, hash tokenHash, q *question, ask func(enterFunc) (owner, error)) (found owner, err error) {
	q.left = true // Also if ask panics.
	defer func() {
		s.mu.Lock()
		delete(s.asked, hash)
		s.mu.Unlock()
		close(q.done)
	}()
	found, err = ask(s.enter)
	s.learn(hash, err)
	q.err, q.left = err, ctx.Err() != nil
	return found, err
}

// learn remembers what the control plane said of a token. An error that is no refusal says nothing.
func (s *strangers) learn(hash tokenHash, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.accepted.Add(hash, struct{}{})
		s.refused.Remove(hash)
	case errors.Is(err, ErrUnauthorized):
		now := time.Now()
		s.accepted.Remove(hash)
		s.refused.Add(hash, now.Add(refusedFor))
		s.fill(now)
		s.budget--
	}
}

// enterFunc is called before the control plane is asked, and the function that it returns after the answer.
type enterFunc func(ctx context.Context) (leave func(), err error)

// enterFreely lets a question begin at once.
func enterFreely(context.Context) (func(), error) { return func() {}, nil }

// enter waits until a question about a stranger may begin.
func (s *strangers) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-s.slots }
	if err := s.takeSlot(ctx); err != nil {
		return nil, err
	}
	wait, err := s.nextTurn()
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
		return nil, unavailable(context.Cause(ctx))
	}
	if err := s.takeSlot(ctx); err != nil {
		return nil, err
	}
	return leave, nil
}

func (s *strangers) takeSlot(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return unavailable(context.Cause(ctx))
	}
}

// nextTurn returns how long a question must wait: not at all unless too many tokens were refused.
func (s *strangers) nextTurn() (time.Duration, error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fill(now); s.budget >= 1 {
		return 0, nil
	}
	turn := now
	if s.turn.After(now) {
		turn = s.turn
	}
	turn = turn.Add(time.Second / refusalRate)
	if turn.Sub(now) > longestTurn {
		return 0, tooManyStrangers()
	}
	s.turn = turn
	return turn.Sub(now), nil
}

// fill adds to the budget what the time since the last call has brought. The caller holds mu.
func (s *strangers) fill(now time.Time) {
	if !s.filled.IsZero() {
		s.budget = min(s.budget+refusalRate*now.Sub(s.filled).Seconds(), refusalBurst)
	}
	s.filled = now
}

func tooManyStrangers() error {
	return &apierror.Error{
		Status: http.StatusServiceUnavailable, Text: "too many requests have tokens that are not valid: try again", RetryAfter: time.Second, Cause: errTooManyStrangers,
	}
}
