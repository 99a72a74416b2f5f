package aibridged

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
	"cdr.dev/slog/v3/sloggers/sloghuman"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/rpcstatus"
)

// awayStore is a store that fails while it is away, and takes a while for each turn.
type awayStore struct {
	mu     sync.Mutex
	away   error             // Guarded by mu, like all that follows.
	takes  time.Duration     // How long it takes to answer.
	turns  map[string]string // What is stored, by its keys.
	tries  int               // How often it was asked to keep something.
	life   map[string]time.Duration
	asked  []string
	refuse string // A turn that it refuses.
}

func (s *awayStore) Keep(ctx context.Context, turn aibridge.KeptTurn) error {
	s.mu.Lock()
	s.tries++
	takes := s.takes
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.away != nil:
		return s.away
	case s.refuse != "" && string(turn.Turn) == s.refuse:
		return drpcerr.WithCode(errors.New("refused"), rpcstatus.InvalidArgument)
	}
	for _, key := range turn.Keys {
		s.turns[key], s.life[key] = string(turn.Turn), turn.Lifetime
	}
	return nil
}

func (s *awayStore) Find(_ context.Context, _ string, keys []string) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, keys...)
	if s.away != nil {
		return nil, s.away
	}
	found := map[string][]byte{}
	for _, key := range keys {
		if turn, ok := s.turns[key]; ok {
			found[key] = []byte(turn)
		}
	}
	return found, nil
}

func (s *awayStore) goes(away error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *awayStore) has(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turns[key]
}

// queueTest is a queue in front of a store, and what it logs.
type queueTest struct {
	*turnQueue

	t     *testing.T
	store *awayStore
	log   *bytes.Buffer
}

func inQueueTest(t *testing.T, test func(q queueTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q := queueTest{t: t, store: &awayStore{turns: map[string]string{}, life: map[string]time.Duration{}}, log: &bytes.Buffer{}}
		q.turnQueue = newTurnQueue(q.store, slog.Make(sloghuman.Sink(q.log)))
		defer func() { q.Close(t.Context()) }()
		test(q)
	})
}

// keep keeps a turn under keys with commas between them.
func (q queueTest) keep(keys, turn string) {
	q.t.Helper()
	if err := q.Keep(q.t.Context(), aibridge.KeptTurn{InitiatorID: "ada", Keys: strings.Split(keys, ","), Turn: []byte(turn), Lifetime: 30 * 24 * time.Hour}); err != nil {
		q.t.Errorf("keep %s: %v", keys, err)
	}
}

// find returns what is found under a key.
func (q queueTest) find(key string) string {
	q.t.Helper()
	found, err := q.Find(q.t.Context(), "ada", []string{key})
	if err != nil {
		return err.Error()
	}
	return string(found[key])
}

// left returns how many keys have a turn that is not stored, how many turns wait, and how many bytes they have.
func (q queueTest) left() (keys, turns, size int) {
	synctest.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.latest), len(q.waiting), q.bytes
}

// logged returns what has been logged.
func (q queueTest) logged() string {
	synctest.Wait()
	return q.log.String()
}

// TestTurnsWaitForTheControlPlane keeps turns while the control plane is away in each way: they are stored once it is back,
// and expire when they would have. The log says once that they wait, and once that it is over.
func TestTurnsWaitForTheControlPlane(t *testing.T) {
	for _, away := range []error{ErrConnect, context.DeadlineExceeded, drpcerr.WithCode(errors.New("locked"), rpcstatus.Unavailable)} {
		inQueueTest(t, func(q queueTest) {
			q.store.goes(away)
			for i := range 50 {
				q.keep(fmt.Sprintf("a%d,b%d", i, i), fmt.Sprint("turn ", i))
			}
			if got := q.find("b7"); got != "turn 7" {
				t.Errorf("%v: found %q while it waits", away, got)
			}
			time.Sleep(20 * time.Second)
			q.store.mu.Lock()
			tries := q.store.tries
			q.store.mu.Unlock()
			if tries > 40 {
				t.Errorf("%v: %d tries in 20 s", away, tries)
			}
			q.store.goes(nil)
			time.Sleep(2 * longestRetry)
			synctest.Wait()
			for i := range 50 {
				if got := q.store.has(fmt.Sprintf("b%d", i)); got != fmt.Sprint("turn ", i) {
					t.Errorf("%v: stored %q", away, got)
				}
			}
			q.left()
			if life := q.store.life["a0"]; life > 30*24*time.Hour-20*time.Second {
				t.Errorf("%v: it lives for %s", away, life)
			}
			if keys, turns, size := q.left(); keys+turns+size > 0 {
				t.Errorf("%v: %d keys, %d turns, %d bytes are left", away, keys, turns, size)
			}
			q.keep("later", "x")
			if log := q.logged(); q.store.has("later") != "x" || strings.Count(log, "waits for the control plane") != 1 || strings.Count(log, "takes turns again") != 1 {
				t.Errorf("%v: stored %q, logged %s", away, q.store.has("later"), log)
			}
		})
	}
}

// TestLaterTurnsCountMost keeps several turns under the same keys: however slow the store is, and whenever it is away, the one that
// came last is the one that it has in the end, and no other one is sent after that.
func TestLaterTurnsCountMost(t *testing.T) {
	for _, takes := range []time.Duration{0, 30 * time.Millisecond, 700 * time.Millisecond} {
		for back := range 12 {
			inQueueTest(t, func(q queueTest) {
				q.store.takes = takes
				q.store.goes(ErrConnect)
				var all sync.WaitGroup
				all.Go(func() {
					time.Sleep(time.Duration(back)*150*time.Millisecond + time.Microsecond)
					q.store.goes(nil)
				})
				for n := range 8 { // Another request may be the one that keeps the next version.
					all.Go(func() {
						time.Sleep(time.Duration(n) * 100 * time.Millisecond)
						q.keep("call,conversation", fmt.Sprint("version ", n))
						q.keep(fmt.Sprint("own ", n), "own")
					})
				}
				all.Wait()
				time.Sleep(20 * time.Second)
				synctest.Wait()
				if got := q.store.has("call") + ", " + q.store.has("conversation"); got != "version 7, version 7" {
					t.Errorf("%s, back after %d: stored %s", takes, back, got)
				}
				for n := range 8 {
					if q.store.has(fmt.Sprint("own ", n)) == "" {
						t.Errorf("%s, back after %d: turn %d is lost", takes, back, n)
					}
				}
			})
		}
	}
}

// TestALaterTurnTakesSomeKeys has a turn that shares one of its keys with a later one: it is still found by the other.
func TestALaterTurnTakesSomeKeys(t *testing.T) {
	inQueueTest(t, func(q queueTest) {
		q.store.goes(ErrConnect)
		q.keep("call,response", "first")
		q.keep("response", "second")
		q.keep("other", "third")
		q.store.goes(nil)
		time.Sleep(2 * longestRetry)
		if got := q.store.has("call") + ", " + q.store.has("response") + ", " + q.store.has("other"); got != "first, second, third" {
			t.Errorf("stored %s", got)
		}
	})
}

// TestTurnsThatAreRefused has turns that the control plane refuses: they do not wait, nor keep others waiting.
func TestTurnsThatAreRefused(t *testing.T) {
	inQueueTest(t, func(q queueTest) {
		q.store.refuse = "bad"
		if err := q.Keep(q.t.Context(), aibridge.KeptTurn{InitiatorID: "ada", Keys: []string{"a"}, Turn: []byte("bad"), Lifetime: time.Hour}); err == nil {
			t.Error("kept")
		}
		q.store.goes(ErrConnect)
		q.keep("a", "bad")
		q.keep("b", "good")
		q.store.goes(nil)
		time.Sleep(2 * longestRetry)
		if keys, _, _ := q.left(); q.store.has("b") != "good" || keys != 0 || strings.Count(q.logged(), "was refused") != 1 {
			t.Errorf("stored %q, %d keys are left, logged %s", q.store.has("b"), keys, q.logged())
		}
	})
}

// TestWaitingTurnsAreBounded has more turns than may wait, and some that wait for too long: the oldest ones go.
func TestWaitingTurnsAreBounded(t *testing.T) {
	for name, c := range map[string]struct{ n, size, left int }{
		"bytes": {40, 1 << 20, 32}, "number": {mostWaiting + 5, 1, mostWaiting},
	} {
		inQueueTest(t, func(q queueTest) {
			q.store.goes(ErrConnect)
			for i := range c.n {
				q.keep(fmt.Sprint(i), strings.Repeat("x", c.size))
			}
			if keys, turns, size := q.left(); turns > c.left || keys > c.left || size > mostWaitingBytes {
				t.Errorf("%s: %d wait, %d keys, %d bytes", name, turns, keys, size)
			}
			q.store.goes(nil)
			time.Sleep(2 * longestRetry)
			if q.store.has(fmt.Sprint(c.n-1)) == "" || q.store.has("0") != "" || !strings.Contains(q.logged(), "dropped") {
				t.Errorf("%s: the last one is stored: %v, logged %s", name, q.store.has(fmt.Sprint(c.n-1)) != "", q.logged())
			}
		})
	}
	inQueueTest(t, func(q queueTest) {
		q.store.goes(ErrConnect)
		q.keep("a", "x")
		time.Sleep(2 * longestWaiting)
		if keys, turns, _ := q.left(); keys+turns != 0 {
			t.Errorf("after two hours: %d keys, %d turns", keys, turns)
		}
	})
}

// TestClosingStoresWhatWaits closes the queue, with a control plane that is back and with one that is not or hangs.
func TestClosingStoresWhatWaits(t *testing.T) {
	for name, away := range map[string]error{"back": nil, "away": ErrConnect} {
		for _, takes := range []time.Duration{0, time.Hour} {
			inQueueTest(t, func(q queueTest) {
				q.store.goes(ErrConnect)
				for i := range 9 {
					q.keep(fmt.Sprint(i), "x")
				}
				q.store.mu.Lock()
				q.store.takes = takes
				q.store.mu.Unlock()
				time.Sleep(10 * time.Second)
				q.store.goes(away)
				ctx, cancel := context.WithTimeout(q.t.Context(), 5*time.Second)
				defer cancel()
				began := time.Now()
				q.Close(ctx)
				stored := away == nil && takes == 0
				if took := time.Since(began); took > 5*time.Second || (q.store.has("8") != "") != stored || strings.Contains(q.logged(), "is lost") == stored {
					t.Errorf("%s, %s: it took %s, logged %s", name, takes, took, q.logged())
				}
			})
		}
	}
}

// TestFindsWhatWaitsBeforeWhatIsStored has an earlier version of a turn in the store.
func TestFindsWhatWaitsBeforeWhatIsStored(t *testing.T) {
	inQueueTest(t, func(q queueTest) {
		q.keep("a", "first")
		q.keep("b", "other")
		q.store.goes(ErrConnect)
		q.keep("a", "second")
		if got := q.find("a"); got != "second" {
			t.Errorf("found %q while the store is away", got)
		}
		if got := q.find("b"); got != ErrConnect.Error() {
			t.Errorf("found %q", got)
		}
	})
}
