package crashtest

import "time"

// life is one run of the gateway, by the clock of this machine.
type life struct {
	began  time.Time
	ready  time.Time // Zero: it was killed before it was ready.
	killed time.Time // Just before the kill. Zero: it stopped in good order.
	ended  time.Time // Just after it ended.
}

// startGateway begins a life of the gateway.
func (s *stage) startGateway() *process {
	s.t.Helper()
	s.lives = append(s.lives, life{began: time.Now()})
	p, err := s.start(s.gatewayTask)
	s.must(err)
	return p
}

// awaitGateway waits until the gateway serves.
func (s *stage) awaitGateway(p *process) {
	s.t.Helper()
	s.must(p.awaitReady())
	s.lives[len(s.lives)-1].ready = time.Now()
}

// killGateway ends a life of the gateway.
func (s *stage) killGateway(p *process) {
	s.t.Helper()
	l := &s.lives[len(s.lives)-1]
	l.killed = time.Now()
	s.must(p.kill())
	l.ended = time.Now()
}

// stopGateway ends the last life in good order.
func (s *stage) stopGateway(p *process) {
	s.t.Helper()
	s.must(p.stop())
	s.lives[len(s.lives)-1].ended = time.Now()
}
