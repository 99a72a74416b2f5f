package main

import (
	"context"
	"fmt"
	"time"

	"cdr.dev/slog/v3"
)

const (
	// pruneEvery is how often a gateway deletes records that have become too old.
	pruneEvery = time.Hour
	// leastKept is the shortest time for which records can be kept: the records of a request must not be deleted while
	// it runs.
	leastKept = time.Hour
)

// checkKeepRecords refuses a time that is too short, and one that is shorter than exchanges are kept: verify reports a
// kept exchange without its records as a difference.
func checkKeepRecords(keep time.Duration, observers observerOptions) error {
	switch {
	case keep == 0:
		return nil
	case keep < leastKept:
		return fmt.Errorf("--keep-records must be 0, which is for ever, or at least %s", leastKept)
	case observers.keepDir != "" && keep < observers.keepFor:
		return fmt.Errorf("--keep-records is %s: exchanges are kept for longer, %s; make it longer, or --keep-exchanges-for shorter",
			keep, observers.keepFor)
	}
	return nil
}

// retention deletes records that are too old and kept turns that have expired, at once and then once every pruneEvery.
type retention struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// startRetention starts to delete records that are older than keep, if that is not zero. The caller closes the retention.
func startRetention(store *store, keep time.Duration, logger slog.Logger) *retention {
	ctx, cancel := context.WithCancel(context.Background())
	r := &retention{cancel: cancel, done: make(chan struct{})}
	go r.run(ctx, store, keep, logger)
	return r
}

func (r *retention) run(ctx context.Context, store *store, keep time.Duration, logger slog.Logger) {
	defer close(r.done)
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		prune(ctx, store, keep, logger)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func prune(ctx context.Context, store *store, keep time.Duration, logger slog.Logger) {
	if err := store.PruneTurns(ctx); err != nil && ctx.Err() == nil {
		logger.Warn(ctx, "not all expired turns could be deleted, the gateway will try again", slog.F("next_in", pruneEvery), slog.Error(err))
	}
	if keep == 0 {
		return
	}
	deleted, err := store.Prune(ctx, time.Now().Add(-keep))
	switch {
	case ctx.Err() != nil:
	case err != nil:
		logger.Warn(ctx, "not all old records could be deleted, the gateway will try again", slog.F("deleted", deleted),
			slog.F("next_in", pruneEvery), slog.Error(err))
	case deleted > 0:
		logger.Info(ctx, "old records deleted", slog.F("interceptions", deleted))
	}
}

// close interrupts the deletion and waits until it has ended.
func (r *retention) close() {
	r.cancel()
	<-r.done
}
