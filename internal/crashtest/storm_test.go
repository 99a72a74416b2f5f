package crashtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// What happens in a storm, as outages name it.
const (
	gatewayKilled  = "gateway killed"
	controlKilled  = "control plane killed"
	databaseKilled = "database killed"
	connectionCut  = "connection cut"
	connectionHole = "connection black-holed"
	connectionLost = "connection forgotten"
)

// storm lets all parts of a fleet fail again and again at random times, each of them once at least, and several at the
// same time. Meanwhile something is changed, and the token old is revoked. When it returns, all parts run and all
// connections work.
func (f *fleet) storm(number int, old string) (c change) {
	f.t.Helper()
	lasts := between(f.chance.of(fmt.Sprintf("storm %d", number)), 5*time.Second, 10*time.Second)
	ctx, cancel := context.WithTimeout(f.ctx, lasts)
	defer cancel()
	var acting sync.WaitGroup
	// trouble lets a part fail, with pauses of that length at most.
	trouble := func(name string, longest time.Duration, fail func(*rand.Rand) error) {
		rng := f.chance.of(fmt.Sprintf("%s in storm %d", name, number))
		acting.Go(func() {
			for pause(f.ctx, upTo(rng, longest)); ; {
				if err := fail(rng); err != nil {
					f.fail(err)
					return
				}
				if !pause(ctx, between(rng, longest/4, longest)) {
					return
				}
			}
		})
	}
	for _, g := range f.members {
		trouble(g.role, 6*time.Second, func(rng *rand.Rand) error { return f.failGateway(g, rng) })
		trouble("connection of "+g.role, 6*time.Second, func(rng *rand.Rand) error {
			f.failConnection(g.toControl, g.number, rng)
			return nil
		})
	}
	trouble("control plane", 8*time.Second, f.failControl)
	trouble("database", 8*time.Second, f.failDatabase)
	trouble("connection of the control plane", 8*time.Second, func(rng *rand.Rand) error {
		f.failConnection(f.toDatabase, everyGateway, rng)
		return nil
	})
	acting.Go(func() {
		pause(f.ctx, upTo(f.chance.of(fmt.Sprintf("change %d", number)), 7*time.Second))
		var err error
		if c, err = f.change(number, old); err != nil {
			f.fail(err)
		}
	})
	acting.Wait()
	f.going()
	return c
}

// absence returns how long a part is away: mostly not for long.
func absence(rng *rand.Rand) time.Duration {
	if rng.IntN(4) == 0 {
		return upTo(rng, promised)
	}
	return upTo(rng, 2*time.Second)
}

func (f *fleet) failGateway(g *gatewayMember, rng *rand.Rand) error {
	defer f.outages.begin(gatewayKilled, g.number)()
	if err := f.killGateway(g); err != nil {
		return err
	}
	pause(f.ctx, upTo(rng, time.Second))
	return f.startGateway(g)
}

func (f *fleet) failControl(rng *rand.Rand) error {
	defer f.outages.begin(controlKilled, everyGateway)()
	if err := f.control.running.kill(); err != nil {
		return err
	}
	pause(f.ctx, absence(rng))
	return f.startControl(f.ctx)
}

func (f *fleet) failDatabase(rng *rand.Rand) error {
	defer f.outages.begin(databaseKilled, everyGateway)()
	if err := f.postgres.Kill(); err != nil {
		return err
	}
	pause(f.ctx, absence(rng))
	return f.postgres.Restart()
}

// failConnection cuts what goes through a relay, or lets it vanish for a time.
func (f *fleet) failConnection(r *relay, gateway int, rng *rand.Rand) {
	if rng.IntN(2) == 0 {
		defer f.outages.begin(connectionCut, gateway)()
		r.cut()
		return
	}
	defer f.outages.begin(connectionHole, gateway)()
	r.swallow()
	pause(f.ctx, upTo(rng, promised))
	r.heal(rng)
}
