package aibridged

import (
	"context"
	"slices"
	"sync"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/contain"
)

const (
	// mostWaiting and mostWaitingBytes bound the turns that wait for the control plane. Beyond that the oldest ones go.
	mostWaiting      = 10_000
	mostWaitingBytes = 32 << 20
	// shortestRetry and longestRetry are the pauses between the tries to store what waits.
	shortestRetry = 100 * time.Millisecond
	longestRetry  = time.Second
	// longestWaiting is how long a turn is tried to be stored. What is kept for a client that may come back is of most use soon.
	longestWaiting = time.Hour
)

// turnQueue keeps turns in a store, and those that it cannot reach now later: a control plane that is away for seconds would
// otherwise lack them for good, and with it all other gateways. They wait in memory, for an hour at most.
//
// Of one key, only the turn that came last is ever sent, and never while another one is under way: an earlier turn cannot
// take the place of a later one.
type turnQueue struct {
	store  aibridge.TurnStore
	logger slog.Logger

	ctx   context.Context // Ends the tries to store what waits.
	stop  context.CancelFunc
	tries sync.WaitGroup

	mu      sync.Mutex // Guards what follows.
	latest  map[turnsKey]*waitingTurn
	waiting []*waitingTurn // In their order, but for those that are being sent.
	bytes   int            // Of these.
	dropped int            // How many turns had no room, or waited for too long, since the control plane was away.
	trying  bool           // A goroutine tries to store what waits.
}

var _ aibridge.TurnStore = (*turnQueue)(nil)

// turnsKey is a key of an initiator's.
type turnsKey struct{ initiatorID, key string }

// waitingTurn is a turn that has not been stored. Its fields are guarded by the mutex of its queue.
type waitingTurn struct {
	turn  aibridge.KeptTurn
	until time.Time         // When it expires.
	over  time.Time         // When it is not tried any more.
	sent  chan struct{}     // Is closed when the try that is under way has ended. Nil: it is not being sent.
	after []<-chan struct{} // Those of the turns that must have been sent before it is.
}

func newTurnQueue(store aibridge.TurnStore, logger slog.Logger) *turnQueue {
	q := &turnQueue{store: store, logger: logger, latest: map[turnsKey]*waitingTurn{}}
	q.ctx, q.stop = context.WithCancel(context.Background())
	return q
}

// Keep implements [aibridge.TurnStore]. It returns nil if the turn is stored, or waits for that.
func (q *turnQueue) Keep(ctx context.Context, turn aibridge.KeptTurn) error {
	w := &waitingTurn{turn: turn, until: time.Now().Add(turn.Lifetime), over: time.Now().Add(longestWaiting)}
	for _, before := range q.admit(w) {
		select {
		case <-before:
		case <-ctx.Done():
			q.mu.Lock()
			defer q.mu.Unlock()
			q.drop(w)
			return context.Cause(ctx)
		}
	}
	if !q.begin(w) {
		return nil
	}
	return q.try(ctx, w)
}

// admit takes a turn, which has its keys from then on. The turn must not be sent before the channels are closed that admit
// returns: until then earlier turns with these keys are being sent.
func (q *turnQueue) admit(w *waitingTurn) (after []<-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, key := range w.turn.Keys {
		at := turnsKey{w.turn.InitiatorID, key}
		if other := q.latest[at]; other != nil && other != w {
			w.after = append(w.after, other.after...)
			if other.sent != nil {
				w.after = append(w.after, other.sent)
			}
			// What is being sent reads its keys: they stay as they are.
			other.turn.Keys = slices.DeleteFunc(slices.Clone(other.turn.Keys), func(k string) bool { return k == key })
			if len(other.turn.Keys) == 0 {
				q.forget(other)
			}
		}
		q.latest[at] = w
	}
	return w.after
}

// begin reports whether a turn that has been admitted is to be sent now. Otherwise it waits, or later ones have all of its keys.
func (q *turnQueue) begin(w *waitingTurn) (now bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.after = nil
	switch {
	case len(w.turn.Keys) == 0:
		return false
	case q.trying: // It would only find out once more that the control plane is away.
		q.wait(w)
		return false
	}
	w.sent = make(chan struct{})
	return true
}

// try sends a turn that has been marked so. One that the store cannot take now waits, as far as no later one has its keys. An
// error says that the store refuses it.
func (q *turnQueue) try(ctx context.Context, w *waitingTurn) error {
	q.mu.Lock()
	turn := w.turn
	q.mu.Unlock()
	turn.Lifetime = time.Until(w.until)
	err := contain.Call(func() error { return q.store.Keep(ctx, turn) })
	q.mu.Lock()
	defer q.mu.Unlock()
	close(w.sent)
	w.sent = nil
	switch {
	case err != nil && isAway(err) && len(w.turn.Keys) > 0:
		q.wait(w)
	case err != nil && isAway(err):
		return nil
	default:
		q.drop(w)
		return err
	}
	if !q.trying && q.ctx.Err() == nil {
		q.logger.Warn(ctx, "what clients have not seen of turns waits for the control plane: other gateways lack it until then", slog.Error(err))
		q.trying, q.dropped = true, 0
		q.tries.Go(q.tryAgain)
	}
	return nil
}

// wait adds a turn to those that wait. The caller holds mu.
func (q *turnQueue) wait(w *waitingTurn) {
	q.waiting = append(q.waiting, w)
	q.bytes += len(w.turn.Turn)
	for q.bytes > mostWaitingBytes || len(q.waiting) > mostWaiting {
		q.dropped++
		q.forget(q.waiting[0])
	}
}

// forget drops a turn that waits. The caller holds mu.
func (q *turnQueue) forget(w *waitingTurn) {
	if at := slices.Index(q.waiting, w); at >= 0 {
		q.waiting = slices.Delete(q.waiting, at, at+1)
		q.bytes -= len(w.turn.Turn)
	}
	q.drop(w)
}

// drop gives up the keys of a turn. The caller holds mu.
func (q *turnQueue) drop(w *waitingTurn) {
	for _, key := range w.turn.Keys {
		delete(q.latest, turnsKey{w.turn.InitiatorID, key})
	}
}

// next takes the turn that has waited for the longest time, to be sent. It returns nil if none waits, and expects no more tries.
func (q *turnQueue) next() *waitingTurn {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 {
		w := q.waiting[0]
		if now := time.Now(); !now.Before(w.until) || !now.Before(w.over) {
			q.dropped++
			q.forget(w)
			continue
		}
		q.waiting = slices.Delete(q.waiting, 0, 1)
		q.bytes -= len(w.turn.Turn)
		w.sent = make(chan struct{})
		return w
	}
	q.trying = false
	return nil
}

// tryAgain stores what waits, until nothing does or the queue is closed.
func (q *turnQueue) tryAgain() {
	for pause := shortestRetry; ; pause = min(2*pause, longestRetry) {
		select {
		case <-time.After(pause):
		case <-q.ctx.Done():
			return
		}
		stored, done := q.flush(q.ctx)
		if done {
			return
		}
		if stored > 0 {
			pause = shortestRetry
		}
	}
}

// flush stores what waits, as far as the store takes it. Done says that nothing waits any more.
func (q *turnQueue) flush(ctx context.Context) (stored int, done bool) {
	for {
		w := q.next()
		if w == nil {
			q.tellOver(ctx)
			return stored, true
		}
		err := q.try(ctx, w)
		if err != nil {
			q.logger.Warn(ctx, "what a client has not seen of a turn was refused: the conversation may go on without it", slog.Error(err))
		}
		if q.waits(w) {
			return stored, false
		}
		stored++
	}
}

// waits reports whether a turn waits.
func (q *turnQueue) waits(w *waitingTurn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Contains(q.waiting, w)
}

// tellOver says that nothing waits any more, and what became of it.
func (q *turnQueue) tellOver(ctx context.Context) {
	q.mu.Lock()
	dropped := q.dropped
	q.mu.Unlock()
	if dropped > 0 {
		q.logger.Warn(ctx, "the control plane takes turns again: some that waited were dropped, for want of room or time", slog.F("dropped", dropped))
		return
	}
	q.logger.Info(ctx, "the control plane takes turns again: none that waited was lost")
}

// Find implements [aibridge.TurnStore]. What waits here is later than what the store has under the same key.
func (q *turnQueue) Find(ctx context.Context, initiatorID string, keys []string) (map[string][]byte, error) {
	here := q.held(initiatorID, keys)
	var elsewhere []string
	for _, key := range keys {
		if here[key] == nil {
			elsewhere = append(elsewhere, key)
		}
	}
	if len(elsewhere) == 0 {
		return here, nil
	}
	found, err := q.store.Find(ctx, initiatorID, elsewhere)
	if err != nil || len(here) == 0 {
		return found, err
	}
	for key, turn := range found {
		here[key] = turn
	}
	return here, nil
}

// held returns those turns under keys that have not been stored, or nil.
func (q *turnQueue) held(initiatorID string, keys []string) (turns map[string][]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.latest) == 0 {
		return nil
	}
	for _, key := range keys {
		if w := q.latest[turnsKey{initiatorID, key}]; w != nil {
			if turns == nil {
				turns = map[string][]byte{}
			}
			turns[key] = w.turn.Turn
		}
	}
	return turns
}

// Close stores what waits, once more, and ends the tries. It may be called again.
func (q *turnQueue) Close(ctx context.Context) {
	q.stop()
	q.tries.Wait()
	q.flushAtEnd(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.waiting); n > 0 {
		q.logger.Warn(ctx, "what clients have not seen of turns is lost, since the control plane is away: their conversations may go on without it",
			slog.F("turns", n))
	}
}

// flushAtEnd stores what waits as far as that goes, without a pause.
func (q *turnQueue) flushAtEnd(ctx context.Context) {
	for ctx.Err() == nil {
		w := q.next()
		if w == nil || q.try(ctx, w) != nil || q.waits(w) {
			return
		}
	}
}
