package mcp

import (
	"context"
	"time"
)

const (
	firstPause = time.Second
	lastPause  = 2 * time.Minute
	// steady is how long a stream of notifications lasts on a server that is well.
	steady = 20 * time.Second
)

// pace spaces attempts: one that follows soon after the one before waits, and each time twice as long. The zero value
// is ready. It is not safe for concurrent use.
type pace struct {
	last  time.Time
	pause time.Duration
}

// wait returns when the next attempt may be made, or with the context's error.
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

// pause waits for d, or until ctx ends, whose cause it then returns.
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
