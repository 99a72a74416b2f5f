package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
	"github.com/spf13/cobra"
)

// errDraining is why a process is not ready that is told to stop.
var errDraining = errors.New("it is shutting down")

// defaultDrain is how long requests may still run after the process is told to stop.
const defaultDrain = 30 * time.Second

// drainOptions say how long a process that is told to stop goes on.
type drainOptions struct {
	delay time.Duration // How long it serves what still comes, unready, since balancers take a while to notice.
	time  time.Duration // How long requests may run then. Zero: [defaultDrain].
}

func (o *drainOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&o.delay, "drain-delay", 0, "how long to serve on after SIGTERM while /readyz is 503 already, until balancers send nothing more")
	cmd.Flags().DurationVar(&o.time, "drain-time", defaultDrain, "how long the requests that run then have to end; their records stay on the disk in any case")
}

// check refuses what cannot be.
func (o *drainOptions) check() error {
	if o.delay < 0 || o.time <= 0 {
		return errors.New("--drain-delay must not be negative, and --drain-time must be above zero")
	}
	return nil
}

// limit returns how long requests may run.
func (o *drainOptions) limit() time.Duration {
	if o.time == 0 {
		return defaultDrain
	}
	return o.time
}

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
