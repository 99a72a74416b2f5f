package strangers_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/aibridged/internal/strangers"
)

var errInvalid = errors.New("invalid")

func newGate() *strangers.Gate {
	return strangers.New(func(err error) bool { return errors.Is(err, errInvalid) })
}

// asking returns a question that is answered at once, and counts its calls.
func asking(calls *int, answer error) func(strangers.Enter) error {
	return func(enter strangers.Enter) error {
		leave, err := enter(context.Background())
		if err != nil {
			return err
		}
		defer leave()
		*calls++
		return answer
	}
}

// TestRememberedRefusals checks that a refusal is remembered for three seconds, and that other errors are not.
func TestRememberedRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, calls := newGate(), 0
		if err := gate.Ask(t.Context(), "a", asking(&calls, errInvalid)); !errors.Is(err, errInvalid) {
			t.Error(err)
		}
		time.Sleep(3*time.Second - 1)
		if err := gate.Ask(t.Context(), "a", asking(&calls, nil)); !errors.Is(err, strangers.ErrRefused) || calls != 1 {
			t.Errorf("%v after %d calls", err, calls)
		}
		time.Sleep(time.Nanosecond)
		if err := gate.Ask(t.Context(), "a", asking(&calls, nil)); err != nil || calls != 2 {
			t.Errorf("%v after %d calls", err, calls)
		}
		other := errors.New("away")
		for range 5 {
			if err := gate.Ask(t.Context(), "b", asking(&calls, other)); !errors.Is(err, other) {
				t.Error(err)
			}
		}
		if calls != 7 {
			t.Errorf("%d calls", calls)
		}
	})
}

// TestTurns checks the rate of questions about tokens that are refused, and that the budget comes back with time.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, calls, next := newGate(), 0, 0
		flood := func(seconds time.Duration) {
			for end := time.Now().Add(seconds); time.Now().Before(end); next++ {
				_ = gate.Ask(t.Context(), fmt.Sprint(next), asking(&calls, errInvalid))
				time.Sleep(time.Microsecond)
			}
		}
		flood(10 * time.Second)
		if calls < 1300 || calls > 1500 {
			t.Errorf("%d questions in ten seconds", calls)
		}
		time.Sleep(time.Minute)
		calls = 0
		flood(time.Second)
		if calls < 400 || calls > 600 {
			t.Errorf("%d questions in a second after a minute of rest", calls)
		}
	})
}

// TestPanic checks that a question that panics leaves nothing behind that others wait for.
func TestPanic(t *testing.T) {
	gate, calls := newGate(), 0
	func() {
		defer func() { _ = recover() }()
		_ = gate.Ask(t.Context(), "a", func(enter strangers.Enter) error {
			if leave, err := enter(t.Context()); err == nil {
				defer leave()
			}
			panic("in a question")
		})
	}()
	if err := gate.Ask(t.Context(), "a", asking(&calls, nil)); err != nil || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}
