package crashtest

import (
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged"
)

// segmentsPatience is how long it may take until the queue has filled, delivered and removed a file of its log.
const segmentsPatience = 60 * time.Second

// TestKillBehindSegments kills a gateway whose open interceptions have their starts in a file of the queue's log that
// has been removed since. The next start must still know them, and record them as cut.
func TestKillBehindSegments(t *testing.T) {
	t.Parallel()
	s := newStage(t, aibridged.DurabilityKernel)
	control, err := s.startReady(s.controlTask)
	s.must(err)
	gateway := s.startGateway()
	s.awaitGateway(gateway)
	const slow = 8
	var killed atomic.Bool
	finish := s.load(func(n int, c *client) {
		switch {
		case n >= 2*slow:
			return
		case n >= slow:
			c.padding = 1 << 20
			return
		}
		c.patience = 2 * segmentsPatience
		c.pace = func() pace {
			if killed.Load() {
				return quick()
			}
			return pace{event: segmentsPatience, whole: segmentsPatience}
		}
	})
	first := s.oldestSegment()
	s.await(segmentsPatience, "the removal of the first file of the log", func() bool { return s.oldestSegment() != first })
	killed.Store(true)
	s.killGateway(gateway)
	gateway = s.startGateway()
	s.awaitGateway(gateway)
	before := s.ledger.count(whole)
	s.await(clientPatience, "answers of the second gateway", func() bool { return s.ledger.count(whole) > before })
	finish()
	s.awaitDelivery()
	s.stopGateway(gateway)
	s.must(control.stop())
	if recorded, cut := s.checkRecords(); cut < slow {
		t.Errorf("%d of %d interceptions were cut, and %d clients at least had not received all", cut, recorded, slow)
	}
}

// oldestSegment returns the path of the first file of the queue's log.
func (s *stage) oldestSegment() string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.records, "*.log"))
	s.must(err)
	if len(files) == 0 {
		s.t.Fatalf("the queue in %s has no files", s.records)
	}
	return slices.Min(files)
}
