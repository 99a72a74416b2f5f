package mcp

import (
	"context"
	"time"
)

const (
	firstPause = time.Second
	lastPause  = 2 * time.Minute
	// steady is the time after which a stream of notifications counts as working: the attempt after it does not wait.
	steady = 20 * time.Second
)

// pace spaces attempts: an attempt that follows another within steady waits, each time twice as long, up to lastPause.
// The zero value is ready. It is not safe for concurrent use.
type pace struct {
	last  time.Time
	pause time.Duration
}

// wait returns nil once the next attempt may be made, or the cause of ctx's end if ctx ends first.
func (p *pace) wait(ctx context.Context) error {
	if time.Since(p.last) > steady {
		p.pause = 0
	} else {
		p.pause = min(max(2*p.pause, firstPause), lastPause)
	}
	err := pause(ctx, p.pause)
	p.last = time.Now()
	return err
}

// pause waits for d. If ctx ends first, it returns the cause.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
