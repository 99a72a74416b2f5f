package admission

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func tellNobody(Limit, int) {}

func enter(t *testing.T, g *Gate, user string) Pass {
	t.Helper()
	pass, err := g.Enter(user, tellNobody)
	if err != nil {
		t.Fatalf("%s was refused: %v", user, err)
	}
	return pass
}

func mustRefuse(t *testing.T, g *Gate, user string, want Refusal) {
	t.Helper()
	_, err := g.Enter(user, tellNobody)
	if refusal, ok := errors.AsType[*Refusal](err); !ok || *refusal != want {
		t.Fatalf("%s: %+v, want %+v", user, err, want)
	}
}

// TestConcurrent checks both limits of requests at a time.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Limits{Concurrent: 3, UserConcurrent: 2})
		first, second := enter(t, g, "ada"), enter(t, g, "ada")
		mustRefuse(t, g, "ada", Refusal{Limit: UserConcurrent, For: time.Second})
		third := enter(t, g, "bob")
		mustRefuse(t, g, "bob", Refusal{Limit: Concurrent, For: time.Second})
		first.Leave()
		fourth := enter(t, g, "ada")
		for _, pass := range []Pass{second, third, fourth} {
			pass.Leave()
		}
		for range 3 {
			enter(t, g, "cleo").Leave()
		}
		if g.serving != 0 {
			t.Errorf("%d requests are being served", g.serving)
		}
		if got := g.Refusals(); got[Concurrent] != 1 || got[UserConcurrent] != 1 || got[PerMinute] != 0 {
			t.Errorf("%v", got)
		}
	})
}

// TestPerMinute checks both limits of requests in a minute, and that a refusal costs nothing of either.
func TestPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Limits{PerMinute: 6, UserPerMinute: 4})
		for range 4 {
			enter(t, g, "ada").Leave()
		}
		mustRefuse(t, g, "ada", Refusal{Limit: UserPerMinute, For: 15 * time.Second})
		for range 2 {
			enter(t, g, "bob").Leave()
		}
		mustRefuse(t, g, "bob", Refusal{Limit: PerMinute, For: 10 * time.Second})
		time.Sleep(10 * time.Second)
		mustRefuse(t, g, "ada", Refusal{Limit: UserPerMinute, For: 5 * time.Second})
		enter(t, g, "bob").Leave()
		time.Sleep(5*time.Second + time.Millisecond)
		mustRefuse(t, g, "ada", Refusal{Limit: PerMinute, For: 5*time.Second - time.Millisecond})
		time.Sleep(time.Minute)
		for range 4 {
			enter(t, g, "ada").Leave()
		}
	})
}

// TestTelling checks that refusals are told once a minute and user, with how many there were: the first at once, and the rest at
// the end of the minute, though no further request comes.
func TestTelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		tellOf := func(user string) Tell {
			return func(limit Limit, refused int) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, fmt.Sprintf("%s %s %d", user, limit, refused))
			}
		}
		want := func(lines ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if fmt.Sprint(told) != fmt.Sprint(lines) {
				t.Errorf("told %q, want %q", told, lines)
			}
			told = nil
		}
		g := New(Limits{UserConcurrent: 1, PerMinute: 2})
		enter(t, g, "ada")
		bob := enter(t, g, "bob")
		refuse := func(user string, times int) {
			for range times {
				if _, err := g.Enter(user, tellOf(user)); err == nil {
					t.Error("it was let in")
				}
			}
		}
		refuse("ada", 6)
		bob.Leave()
		refuse("bob", 1) // Beyond the limit of all.
		want("ada user_concurrent 1", "bob per_minute 1")
		time.Sleep(time.Minute - time.Nanosecond)
		want()
		time.Sleep(time.Nanosecond)
		want("ada user_concurrent 5")
		refuse("ada", 2)
		want()
		time.Sleep(time.Minute)
		want("ada user_concurrent 2")
		time.Sleep(time.Hour)
		want()
		refuse("ada", 1)
		want("ada user_concurrent 1")
	})
}

// TestUsersAreBounded checks that users are forgotten, and that what they still do does no harm.
func TestUsersAreBounded(t *testing.T) {
	g := New(Limits{UserConcurrent: 1})
	first := enter(t, g, "first")
	for i := range 2 * mostUsers {
		enter(t, g, fmt.Sprint(i)).Leave()
	}
	if g.users.Len() != mostUsers {
		t.Errorf("%d users are remembered", g.users.Len())
	}
	first.Leave()
	if g.serving != 0 {
		t.Errorf("%d requests are being served", g.serving)
	}
}

// TestNoLimits checks that no limits cost nothing.
func TestNoLimits(t *testing.T) {
	g := New(Limits{})
	if n := testing.AllocsPerRun(100, func() { enter(t, g, "ada").Leave() }); n != 0 || g != nil || g.Refusals()[Concurrent] != 0 {
		t.Errorf("%v allocations of %v", n, g)
	}
}

// TestManyAtATime is for the race detector.
func TestManyAtATime(t *testing.T) {
	g := New(Limits{Concurrent: 4, UserConcurrent: 2, PerMinute: 1000})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 500 {
				if pass, err := g.Enter(fmt.Sprint(i%3), tellNobody); err == nil {
					pass.Leave()
				}
			}
		})
	}
	group.Wait()
	if g.serving != 0 {
		t.Errorf("%d requests are being served", g.serving)
	}
}
