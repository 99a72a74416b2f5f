package admission

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// lease lets a request in that must be let in.
func lease(t *testing.T, l *Ledger, gateway, user string, request int64, ended ...int64) int64 {
	t.Helper()
	if err := l.Enter(t.Context(), gateway, user, request, ended...); err != nil {
		t.Fatalf("%s at %s was refused: %v", user, gateway, err)
	}
	return request
}

// mustMeet checks that a request meets a limit.
func mustMeet(t *testing.T, l *Ledger, gateway, user string, want Limit) {
	t.Helper()
	err := l.Enter(t.Context(), gateway, user, -1)
	if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Limit != want {
		t.Errorf("%s at %s: %v, want %s", user, gateway, err, want)
	}
}

// TestLedger has two gateways share limits. What one of them has is free again when it ends, or when it is silent for ten seconds.
func TestLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger(Limits{Concurrent: 3, UserConcurrent: 2}, tellNoUser)
		first, second := lease(t, l, "a", "ada", 1), lease(t, l, "b", "ada", 2)
		mustMeet(t, l, "b", "ada", UserConcurrent)
		third := lease(t, l, "b", "bob", 3)
		mustMeet(t, l, "a", "cleo", Concurrent)
		l.Hear("b", first, 4711) // They are another gateway's, or nobody's.
		mustMeet(t, l, "a", "cleo", Concurrent)
		l.Hear("b", third, third)
		fourth := lease(t, l, "a", "cleo", 4)
		mustMeet(t, l, "a", "dora", Concurrent)
		fifth := lease(t, l, "a", "dora", 5, fourth)

		time.Sleep(LeaseFor - time.Second)
		l.Hear("a")
		time.Sleep(time.Second)
		lease(t, l, "a", "ada", 6) // The gateway b is silent, and with it ends the second.
		mustMeet(t, l, "a", "ada", UserConcurrent)
		l.Hear("a", first, fifth)
		l.Hear("b", second)
		if l.gate.serving != 1 {
			t.Errorf("%d requests are being served, want 1", l.gate.serving)
		}
		time.Sleep(LeaseFor)
		l.Hear("b")
		if l.gate.serving != 0 || len(l.gateways) != 1 {
			t.Errorf("%d requests of %d gateways are left", l.gate.serving, len(l.gateways))
		}
	})
}

// TestLedgerWaitsForNews has a client ask one gateway after another, faster than the first one tells that the request has ended, and a
// client that leaves meanwhile.
func TestLedgerWaitsForNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger(Limits{UserConcurrent: 1}, tellNoUser)
		first := lease(t, l, "a", "ada", 1)
		time.AfterFunc(newsWithin/4, func() { l.Hear("b", lease(t, l, "b", "bob", 7), 7) }) // It is another user's.
		time.AfterFunc(newsWithin/2, func() { l.Hear("a", first) })
		began := time.Now()
		second := lease(t, l, "b", "ada", 2)
		if took := time.Since(began); took != newsWithin/2 {
			t.Errorf("it was let in after %v", took)
		}
		mustMeet(t, l, "a", "ada", UserConcurrent)
		if took := time.Since(began); took != newsWithin/2+newsWithin {
			t.Errorf("another one was refused after %v", took)
		}
		if got := l.gate.Refusals()[UserConcurrent]; got != 1 {
			t.Errorf("%d requests count as refused, want 1", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Enter(ctx, "a", "ada", 3); !errors.Is(err, context.Canceled) {
			t.Errorf("of a client that has left: %v", err)
		}
		l.Hear("b", second)
		if l.gate.serving != 0 {
			t.Errorf("%d requests are being served", l.gate.serving)
		}
	})
}

// TestLedgerPerMinute counts the requests of all gateways together.
func TestLedgerPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger(Limits{UserPerMinute: 6}, tellNoUser)
		for n := range 6 {
			gateway := []string{"a", "b", "c"}[n%3]
			l.Hear(gateway, lease(t, l, gateway, "ada", int64(n)))
		}
		mustMeet(t, l, "c", "ada", UserPerMinute)
		lease(t, l, "c", "bob", 7)
		time.Sleep(10 * time.Second)
		lease(t, l, "b", "ada", 8)
	})
}

func TestLedgerWithoutLimits(t *testing.T) {
	if l := NewLedger(Limits{}, tellNoUser); l != nil {
		t.Error("there is a ledger of nothing")
	}
}

func tellNoUser(string) Tell { return tellNobody }
