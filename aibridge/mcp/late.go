package mcp

import (
	"sync"
	"time"
)

// mostLate is how many servers a [Late] remembers.
const mostLate = 10_000

// Late remembers which servers were not ready in time, across the managers that share it. For a while no [Manager] of the
// same owner waits for such a server: half a minute at first, ever longer if it is late again. It is safe for concurrent
// use.
type Late struct {
	mu      sync.Mutex
	servers map[lateServer]lateness // Guarded by mu.
}

// lateServer is a server as one owner reaches it.
type lateServer struct{ owner, server string }

type lateness struct {
	until time.Time
	pause time.Duration
}

// NewLate returns a Late that remembers nothing yet.
func NewLate() *Late { return &Late{servers: make(map[lateServer]lateness)} }

// is reports whether nobody is to wait for a server now. It is false on a nil Late.
func (l *Late) is(server lateServer) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.servers[server].until)
}

// note remembers that a server was late, unless that is remembered still.
func (l *Late) note(server lateServer) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	before, known := l.servers[server]
	if now.Before(before.until) || !known && len(l.servers) >= mostLate && !l.drop(now) {
		return
	}
	pause := min(max(2*before.pause, firstRetry), lastRetry)
	l.servers[server] = lateness{until: now.Add(pause), pause: pause}
}

// forget makes managers wait for a server again.
func (l *Late) forget(server lateServer) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.servers, server)
}

// drop drops the servers that are waited for again, and reports whether there were any. The caller holds mu.
func (l *Late) drop(now time.Time) bool {
	before := len(l.servers)
	for server, late := range l.servers {
		if !now.Before(late.until) {
			delete(l.servers, server)
		}
	}
	return len(l.servers) < before
}
