package admission

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// lease lets a request in that must be let in.
func lease(t *testing.T, l *Ledger, gateway, user string, request int64, ended ...int64) int64 {
	t.Helper()
	if err := l.Enter(gateway, user, request, ended...); err != nil {
		t.Fatalf("%s at %s was refused: %v", user, gateway, err)
	}
	return request
}

// mustMeet checks that a request meets a limit.
func mustMeet(t *testing.T, l *Ledger, gateway, user string, want Limit) {
	t.Helper()
	err := l.Enter(gateway, user, -1)
	if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Limit != want {
		t.Errorf("%s at %s: %v, want %s", user, gateway, err, want)
	}
}

// TestLedger has two gateways share limits. What one of them has is free again when it ends, or when it is silent for ten seconds.
func TestLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger(Limits{Concurrent: 3, UserConcurrent: 2})
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

// TestLedgerPerMinute counts the requests of all gateways together.
func TestLedgerPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger(Limits{UserPerMinute: 6})
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
	if l := NewLedger(Limits{}); l != nil {
		t.Error("there is a ledger of nothing")
	}
}
