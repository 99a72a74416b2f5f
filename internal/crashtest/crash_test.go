package crashtest

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged"
)

// TestKills kills a gateway again and again, at random moments, under load. Meanwhile the control plane is killed,
// stopped and restarted, and its database is locked again and again.
func TestKills(t *testing.T) {
	t.Parallel()
	killOften(t, aibridged.DurabilitySync, option[int]("kills"))
}

// TestKillsKernel is TestKills with records that are handed to the kernel and not synced: they survive a process that
// is killed just as well.
func TestKillsKernel(t *testing.T) {
	t.Parallel()
	killOften(t, aibridged.DurabilityKernel, max(4, option[int]("kills")/5))
}

// killOften kills at least this many gateways, and more until enough answers were cut and every disturbance has
// happened.
func killOften(t *testing.T, durability aibridged.Durability, kills int) {
	s := newStage(t, durability)
	d := s.disturb()
	gateway := s.startGateway()
	s.awaitGateway(gateway)
	finish := s.load(func(int, *client) {})
	rng := s.chance.of("killer")
	killed, cut := 0, 0
	for ; killed < kills || cut < kills || !d.hasActed(); killed++ {
		if killed == 10*kills {
			t.Fatalf("%d kills cut %d interceptions: too little to prove anything", killed, cut)
		}
		if killed%5 == 3 {
			// Somewhere in its start, while it ends cut interceptions, or shortly after.
			pause(s.ctx, upTo(rng, 50*time.Millisecond))
		} else {
			s.awaitGateway(gateway)
			pause(s.ctx, between(rng, 20*time.Millisecond, 900*time.Millisecond))
		}
		s.killGateway(gateway)
		s.going()
		cut = s.checkOrder()
		gateway = s.startGateway()
	}
	s.awaitGateway(gateway)
	control := d.end()
	before := s.ledger.count(whole)
	s.await(clientPatience, "answers of the last gateway", func() bool { return s.ledger.count(whole) > before+clients })
	finish()
	s.awaitDelivery()
	s.stopGateway(gateway)
	s.must(control.stop())
	recorded, cut := s.checkRecords()
	t.Logf("%d kills of the gateway; %d kills and %d stops of the control plane, %d locks of its database",
		killed, d.kills.Load(), d.stops.Load(), d.locks.Load())
	t.Logf("%d answers received whole, %d broken or not begun, %d refusals; %d interceptions recorded, %d of them cut",
		s.ledger.count(whole), s.ledger.count(broken), s.ledger.count(unavailable), recorded, cut)
}

// disturber kills and stops the control plane, and locks its database, at random times.
type disturber struct {
	s      *stage
	cancel context.CancelFunc
	acting sync.WaitGroup

	control *process // Belongs to restart until end has waited for it.
	kills   atomic.Int64
	stops   atomic.Int64
	locks   atomic.Int64
}

// hasActed reports whether each kind of disturbance has happened at least once.
func (d *disturber) hasActed() bool {
	return d.kills.Load() > 0 && d.stops.Load() > 0 && d.locks.Load() > 0
}

// disturb starts a control plane, and begins to disturb it.
func (s *stage) disturb() *disturber {
	s.t.Helper()
	control, err := s.startReady(s.controlTask)
	s.must(err)
	ctx, cancel := context.WithCancel(s.ctx)
	d := &disturber{s: s, cancel: cancel, control: control}
	d.acting.Go(func() { d.restart(ctx, s.chance.of("control plane")) })
	d.acting.Go(func() { d.lock(ctx, s.chance.of("locker")) })
	s.t.Cleanup(func() { d.end() })
	return d
}

// end ends the disturbances, and returns the control plane that is running then.
func (d *disturber) end() *process {
	d.cancel()
	d.acting.Wait()
	return d.control
}

// restart replaces the control plane again and again until ctx ends. It kills it and stops it in good order by turns.
func (d *disturber) restart(ctx context.Context, rng *rand.Rand) {
	for n := 0; pause(ctx, between(rng, 100*time.Millisecond, 1500*time.Millisecond)); n++ {
		end, ends := d.control.kill, &d.kills
		if n%2 == 1 {
			end, ends = d.control.stop, &d.stops
		}
		if err := end(); err != nil {
			d.s.fail(err)
			return
		}
		ends.Add(1)
		pause(d.s.ctx, upTo(rng, time.Second))
		var err error
		if d.control, err = d.s.startReady(d.s.controlTask); err != nil {
			d.s.fail(err)
			return
		}
	}
}

// lock locks the database for random times, until ctx ends.
func (d *disturber) lock(ctx context.Context, rng *rand.Rand) {
	for pause(ctx, upTo(rng, time.Second)) {
		if err := d.s.lock(ctx, upTo(rng, 700*time.Millisecond)); err != nil {
			if ctx.Err() == nil {
				d.s.fail(err)
			}
			return
		}
		d.locks.Add(1)
	}
}
