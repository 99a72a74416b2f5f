package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
)

// errDraining is why a process is not ready that is told to stop.
var errDraining = errors.New("it is shutting down")

// leave says that a process is not ready, and lets it serve on for the time that balancers take to notice. If a listener
// fails meanwhile, it returns what that has sent.
func leave(draining *atomic.Bool, delay time.Duration, failed <-chan error, logger slog.Logger) *error {
	draining.Store(true)
	if delay <= 0 {
		return nil
	}
	logger.Info(context.Background(), "not ready any more, what comes is still served for a while", slog.F("for", delay))
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case err := <-failed:
		return &err
	case <-timer.C:
		return nil
	}
}
