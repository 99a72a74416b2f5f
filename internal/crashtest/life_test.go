package crashtest

import (
	"slices"
	"time"
)

// life is one run of the gateway, by the clock of this machine.
type life struct {
	began  time.Time
	ready  time.Time // Zero: it was killed before it was ready.
	killed time.Time // Just before the kill. Zero: it stopped in good order.
	ended  time.Time // Just after it ended.
}

// isAwayWithin reports whether, at some time between began and ended, a gateway with these lives had been killed, and was
// not ready again yet.
func isAwayWithin(lives []life, began, ended time.Time) bool {
	for n, l := range lives {
		if l.killed.IsZero() || ended.Before(l.killed) {
			continue
		}
		back := slices.IndexFunc(lives[n+1:], func(next life) bool { return !next.ready.IsZero() })
		if back < 0 || !began.After(lives[n+1+back].ready) {
			return true
		}
	}
	return false
}

// beginLife returns one that begins now.
func beginLife() life { return life{began: time.Now()} }

func (l *life) isReady() { l.ready = time.Now() }

// kill ends the life and the process.
func (l *life) kill(p *process) error {
	l.killed = time.Now()
	err := p.kill()
	l.ended = time.Now()
	return err
}

// stop ends both in good order.
func (l *life) stop(p *process) error {
	err := p.stop()
	l.ended = time.Now()
	return err
}

// startGateway begins a life of the gateway.
func (s *stage) startGateway() *process {
	s.t.Helper()
	s.lives = append(s.lives, beginLife())
	p, err := s.start(s.gatewayTask)
	s.must(err)
	return p
}

// awaitGateway waits until the gateway serves.
func (s *stage) awaitGateway(p *process) {
	s.t.Helper()
	s.must(p.awaitReady())
	s.lives[len(s.lives)-1].isReady()
}

// killGateway ends a life of the gateway.
func (s *stage) killGateway(p *process) {
	s.t.Helper()
	s.must(s.lives[len(s.lives)-1].kill(p))
}

// stopGateway ends the last life in good order.
func (s *stage) stopGateway(p *process) {
	s.t.Helper()
	s.must(s.lives[len(s.lives)-1].stop(p))
}
