package crashtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/aibridged"
)

// roomPatience is how long it may take to fill the disk, or until the gateway notices that there is room again.
const roomPatience = 30 * time.Second

// noRoomText is the error text of a gateway that has no room for records.
const noRoomText = "there is no room for records at the moment"

// TestDiskFull keeps the gateway's records on a disk of 1 MiB. It fills first because records are not delivered, then
// because of what another program writes. Meanwhile requests are refused, answers that have begun end, and no record is
// lost, also where the gateway is killed while its disk is full.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk, isReal := smallDisk(t)
	s := newStage(t, aibridged.DurabilitySync)
	s.records = filepath.Join(disk, "records")
	s.gatewayTask.Records.Directory = s.records
	if !isReal {
		s.gatewayTask.Records.MaxBytes = diskBytes
	}
	control, err := s.startReady(s.controlTask)
	s.must(err)
	gateway := s.startGateway()
	s.awaitGateway(gateway)
	finish := s.load(func(n int, c *client) {
		c.eager, c.padding = true, 2000
		if n < clients/4 { // Their answers begin while there is room, and end while there is none.
			c.pace = func() pace { return pace{event: 100 * time.Millisecond, whole: 2 * time.Second} }
		}
	})

	unlock := s.lockUntil()
	s.awaitRefusals()
	unlock()
	s.awaitRoom()

	if isReal {
		ballast := filepath.Join(disk, "ballast")
		s.await(roomPatience, "refusals because of what another writes", s.fillUntilRefused(ballast))
		s.must(os.Remove(ballast))
		s.awaitRoom()
	}

	unlock = s.lockUntil()
	s.awaitRefusals()
	s.killGateway(gateway)
	gateway = s.startGateway()
	s.awaitGateway(gateway)
	s.awaitRefusals()
	unlock()
	s.awaitRoom()

	finish()
	s.awaitDelivery()
	s.stopGateway(gateway)
	s.must(control.stop())
	recorded, cut := s.checkRecords()
	for _, a := range s.ledger.comparison().attempts {
		if a.outcome == unavailable && !strings.Contains(a.detail, noRoomText) {
			t.Errorf("%s: the refusal says %q", a.model, a.detail)
		}
	}
	t.Logf("%d answers received whole, %d refusals; %d interceptions recorded, %d of them cut",
		s.ledger.count(whole), s.ledger.count(unavailable), recorded, cut)
}

// lockUntil locks the database until the returned function is called.
func (s *stage) lockUntil() (unlock func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	var locked sync.WaitGroup
	locked.Go(func() {
		if err := s.lock(ctx, clientPatience); err != nil {
			s.fail(err)
		}
	})
	unlock = func() {
		cancel()
		locked.Wait()
	}
	s.t.Cleanup(unlock)
	return unlock
}

// awaitRefusals waits until every client has been refused, more than once on average.
func (s *stage) awaitRefusals() {
	s.t.Helper()
	before := s.ledger.count(unavailable)
	s.await(roomPatience, "refusals because of a full disk", func() bool { return s.ledger.count(unavailable) >= before+2*clients })
}

// awaitRoom waits until every client has been answered, more than once on average.
func (s *stage) awaitRoom() {
	s.t.Helper()
	before := s.ledger.count(whole)
	s.await(roomPatience, "answers after there is room again", func() bool { return s.ledger.count(whole) >= before+2*clients })
}

// leftFree is how much of the disk another writer leaves free. It is more than the part of its reserve that the queue
// frees for an append: a writer that took that part too, just before each append, would use up the whole reserve piece
// by piece.
const leftFree = 128 << 10

// fillUntilRefused returns a function that writes nearly all free space of the disk into a file, again and again, until
// clients have been refused.
func (s *stage) fillUntilRefused(path string) func() bool {
	before := s.ledger.count(unavailable)
	return func() bool {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		s.must(err)
		for err == nil {
			free, statErr := freeBytes(filepath.Dir(path))
			s.must(statErr)
			if free <= leftFree {
				break
			}
			_, err = file.Write(make([]byte, 4096))
		}
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			s.must(err)
		}
		s.must(file.Close())
		return s.ledger.count(unavailable) >= before+2*clients
	}
}
