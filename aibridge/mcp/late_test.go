package mcp

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// slowServer is a server of a name that takes its time to connect.
type slowServer struct {
	fakeServer
	id string
}

func (s *slowServer) key() string { return s.id }

func newSlowServer(id string, takes time.Duration) *slowServer {
	s := &slowServer{id: id}
	s.init = func(ctx context.Context) error { return pause(ctx, takes) }
	return s
}

// A server that hangs is not waited for by the next manager of the same owner, until its back-off is over. Others wait.
func TestFault89HangingServerIsNotWaitedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late, wait := NewLate(), 2*time.Second
		initTakes := func(owner, id string, takes time.Duration) time.Duration {
			server := newSlowServer(id, takes)
			m := NewManager([]ServerProxier{server}, ManagerOptions{Wait: wait, Owner: owner, Late: late})
			began := time.Now()
			if err := m.Init(t.Context()); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			_ = m.Shutdown(t.Context()) // The fake has no farewell.
			return took
		}
		const hangs = time.Hour
		for i, step := range []struct {
			owner, id string
			takes     time.Duration // The server's time to connect.
			want      time.Duration // What Init takes.
			then      time.Duration // The pause after it.
		}{
			{"ada", "a", hangs, wait, 0},
			{"ada", "a", hangs, 0, 0},
			{"ada", "b", time.Second, time.Second, 0},
			{"bob", "a", time.Second, time.Second, firstRetry},
			{"ada", "a", hangs, wait, firstRetry},
			{"ada", "a", hangs, 0, firstRetry},
			{"ada", "a", time.Second, time.Second, 0}, // It is well again.
			{"ada", "a", hangs, wait, firstRetry},
			{"ada", "a", hangs, wait, 0},
		} {
			if got := initTakes(step.owner, step.id, step.takes); got != step.want {
				t.Errorf("step %d: Init took %s, want %s", i, got, step.want)
			}
			time.Sleep(step.then)
		}
	})
}

func TestLateIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := NewLate()
		for i := range mostLate + 100 {
			late.note(lateServer{owner: fmt.Sprint(i)})
		}
		if n := len(late.servers); n != mostLate {
			t.Errorf("%d servers are remembered", n)
		}
		time.Sleep(firstRetry)
		late.note(lateServer{owner: "the next"})
		if n := len(late.servers); n != 1 || !late.is(lateServer{owner: "the next"}) {
			t.Errorf("%d servers are remembered", n)
		}
	})
}
