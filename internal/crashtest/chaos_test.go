package crashtest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestChaos runs three gateways, and a control plane over PostgreSQL, for clients of several users behind a balancer.
// Again and again, gateways, control plane and database are killed, and the connections between them are cut, black-holed
// or silent for ever. Requests fail only where their own gateway was killed, or are refused before anything is sent, while a
// part is away and ten seconds longer at most. What is changed meanwhile is right on every gateway ten seconds after all
// is well again. In the end no record is lost, and none is stored twice or as another user's.
//
// It does not run beside other tests of this package, since it looks at the clock.
func TestChaos(t *testing.T) {
	f := newFleet(t)
	first := change{path: "", made: f.newToken("prober")}
	f.await(promised, "the first answer of each gateway", func() bool {
		return !slices.ContainsFunc(f.members, func(g *gatewayMember) bool { return f.differs(g, first) != nil })
	})
	names := slices.Sorted(maps.Keys(f.users))
	finish := f.loadOf(fleetClients, func(n int, c *client) {
		c.http, c.base, c.restless = f.clients, "http://balancer", true
		c.user = names[n%len(names)]
		c.token = f.users[c.user]
		c.pace = func() pace { return pace{event: 60 * time.Millisecond, whole: 1200 * time.Millisecond} }
	})
	latest := first
	for began, number := time.Now(), 1; number == 1 || time.Since(began) < option[time.Duration]("chaos"); number++ {
		before := f.ledger.count(whole)
		latest = f.storm(2*number, latest.made)
		stormy := f.ledger.count(whole) - before
		f.calm(latest)
		latest = f.silence(2*number+1, latest.made)
		f.calm(latest)
		calm := f.ledger.count(whole) - before - stormy
		t.Logf("storm %d: %d answers received whole in it, %d after it", number, stormy, calm)
	}
	finish()
	finished := time.Now()
	f.awaitQueues()
	t.Logf("the queues are empty %v after the last answer", time.Since(finished).Round(time.Millisecond))
	f.stop()
	var lives []gatewayLives
	for _, g := range f.members {
		lives = append(lives, gatewayLives{g.records, g.lives})
	}
	recorded, cut := f.checkRecordsOf(lives...)
	f.checkRefusals()
	f.checkVariety(cut)
	t.Logf("%v", f.outages.count())
	t.Logf("%d answers received whole, %d broken, %d refusals; %d interceptions recorded, %d of them cut",
		f.ledger.count(whole), f.ledger.count(broken), f.ledger.count(unavailable), recorded, cut)
}

// silence lets the connections of one gateway, or of the control plane, stay silent for ever, and then changes something.
func (f *fleet) silence(number int, old string) change {
	f.t.Helper()
	between, gateway := f.toDatabase, everyGateway
	if n := number / 2 % (len(f.members) + 1); n < len(f.members) {
		between, gateway = f.members[n].toControl, n
	}
	over := f.outages.begin(connectionLost, gateway)
	between.forget()
	over()
	c, err := f.change(number, old)
	f.must(err)
	return c
}

// calm begins when all is well again. It waits until a change is right on every gateway, and checks that it stays right.
func (f *fleet) calm(c change) {
	f.t.Helper()
	began, before := time.Now(), f.ledger.count(whole)
	var looking sync.WaitGroup
	took := make([]string, len(f.members))
	for n, g := range f.members {
		looking.Go(func() {
			err := f.differs(g, c)
			for ; err != nil && time.Since(began) < allowed && pause(f.ctx, 20*time.Millisecond); err = f.differs(g, c) {
			}
			if err != nil {
				f.fail(fmt.Errorf("not right within %v: %w", allowed, err))
			}
			took[n] = time.Since(began).Round(time.Millisecond).String()
		})
	}
	looking.Wait()
	f.going()
	pause(f.ctx, time.Until(began.Add(allowed+time.Second)))
	f.await(allowed-promised, "what was changed stays right", func() bool {
		return !slices.ContainsFunc(f.members, func(g *gatewayMember) bool { return f.differs(g, c) != nil })
	})
	if answered := f.ledger.count(whole) - before; answered < 2*fleetClients {
		f.t.Errorf("%d answers in the calm", answered)
	}
	f.t.Logf("what was changed is right after %v", took)
}

// checkRefusals checks that requests were refused only while something was away, and ten seconds longer at most.
func (f *fleet) checkRefusals() {
	f.t.Helper()
	longest := time.Duration(0)
	for _, a := range f.ledger.comparison().attempts {
		if a.outcome != unavailable {
			continue
		}
		since := f.outages.since(a)
		longest = max(longest, since)
		if since > allowed {
			f.t.Errorf("%s: it was refused by gateway %d, %v after all was well: %s", a.model, a.gateway, since, a.detail)
		}
	}
	f.t.Logf("the last refusal came %v after all was well", longest.Round(time.Millisecond))
}

// checkVariety checks that all that can happen did, so that the test proves something.
func (f *fleet) checkVariety(cut int) {
	f.t.Helper()
	happened := map[string]bool{}
	for _, a := range f.ledger.comparison().attempts {
		if a.outcome == whole {
			happened[fmt.Sprintf("gateway %d", a.gateway)] = true
			happened[fmt.Sprintf("%s stream=%t", a.format.name, a.stream)] = true
			happened[a.user] = true
		}
	}
	if want := gateways + 2*len(formats()) + fleetUsers; len(happened) != want {
		f.t.Errorf("whole answers were of %d kinds, want %d: %v", len(happened), want, slices.Sorted(maps.Keys(happened)))
	}
	counts := f.outages.count()
	for _, what := range []string{gatewayKilled, controlKilled, databaseKilled} {
		if counts[what] == 0 {
			f.t.Errorf("%s: never", what)
		}
	}
	if counts[connectionCut]+counts[connectionHole] == 0 {
		f.t.Errorf("connections never failed: %v", counts)
	}
	// In one short storm, gateways may be killed only while nothing has begun.
	if cut == 0 && option[time.Duration]("chaos") >= time.Minute {
		f.t.Error("no interception was cut")
	}
}
