package crashtest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged"
)

// TestControlPlaneAway kills the control plane under load and starts no other for a while. No client notices: answers
// that have begun go on to their end, and new requests wait until a control plane can authorise them. A request whose
// authorisation broke off is refused with 503 after ten seconds.
func TestControlPlaneAway(t *testing.T) {
	t.Parallel()
	away := option[time.Duration]("away")
	s := newStage(t, aibridged.DurabilitySync)
	control, err := s.startReady(s.controlTask)
	s.must(err)
	gateway := s.startGateway()
	s.awaitGateway(gateway)

	// Half of the clients get answers that last longer than the control plane is away.
	var gone atomic.Bool
	slow := pace{event: away / 20, whole: away}
	finish := s.load(func(n int, c *client) {
		c.patience = away + clientPatience
		c.pace = func() pace {
			if n%2 == 0 && !gone.Load() {
				return slow
			}
			return quick()
		}
	})
	pause(s.ctx, between(s.chance.of("killer"), time.Second/2, 3*time.Second/2))
	gone.Store(true)
	s.must(control.kill())
	stored, answered := s.countEnds(), s.ledger.count(whole)
	pause(s.ctx, away)
	s.going()
	meanwhile := s.ledger.count(whole) - answered
	if got := s.countEnds(); got != stored {
		t.Errorf("%d ends were stored while there was no control plane", got-stored)
	}
	if meanwhile == 0 {
		t.Error("no answer ended while there was no control plane: that proves nothing")
	}

	control, err = s.startReady(s.controlTask)
	s.must(err)
	before := s.ledger.count(whole)
	s.await(clientPatience, "answers after the control plane is back", func() bool {
		s.checkOrder()
		return s.ledger.count(whole) > before+5*clients
	})
	finish()
	s.awaitDelivery()
	s.stopGateway(gateway)
	s.must(control.stop())
	recorded, _ := s.checkRecords()

	refusals := s.ledger.count(unavailable)
	if refusals > clients || refusals > 0 && away < authorizeTimeout {
		t.Errorf("%d requests of %d clients were refused", refusals, clients)
	}
	t.Logf("%v without a control plane, in which %d answers ended; %d received whole in all, %d refusals; %d interceptions recorded",
		away, meanwhile, s.ledger.count(whole), refusals, recorded)
}

// authorizeTimeout is how long a request whose authorisation broke off waits for another control plane.
const authorizeTimeout = 10 * time.Second
