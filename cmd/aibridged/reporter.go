package main

import (
	"context"
	"sync"
	"time"
)

// reporter tells a control plane what has ended at a gateway, soon after, and again and again that the gateway is there.
type reporter struct {
	wake    chan struct{} // Holds one: there is something to tell.
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newReporter() *reporter { return &reporter{wake: make(chan struct{}, 1)} }

// start begins to call tell: so often, and when there is something to tell. Tell may take as long as a request waits for the
// control plane. The caller closes the reporter.
func (r *reporter) start(every time.Duration, tell func(context.Context)) {
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	r.running.Go(func() { r.run(ctx, every, tell) })
}

func (r *reporter) run(ctx context.Context, every time.Duration, tell func(context.Context)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-r.wake:
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		limited, cancel := context.WithTimeout(ctx, enterPatience)
		tell(limited)
		cancel()
	}
}

// soon says that there is something to tell.
func (r *reporter) soon() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// close ends what tells, and waits for it.
func (r *reporter) close() {
	r.cancel()
	r.running.Wait()
}

// underway are calls that tell of requests that have ended: each is closed when its call has ended.
type underway map[chan struct{}]struct{}

// begin returns a call. It is one of those underway only if it tells of something.
func (u underway) begin(tells bool) chan struct{} {
	told := make(chan struct{})
	if tells {
		u[told] = struct{}{}
	}
	return told
}

func (u underway) end(told chan struct{}) {
	delete(u, told)
	close(told)
}
