package main

import (
	"context"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// digestEvery is how often a gateway derives costs, sessions and the search from its new records.
const digestEvery = 10 * time.Second

// digest derives from the records that have come, at once and then once every digestEvery.
type digest struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// startDigest starts to derive, gently: requests come first. The caller closes the digest.
func startDigest(of *reports.Reports, logger slog.Logger) *digest {
	ctx, cancel := context.WithCancel(context.Background())
	d := &digest{cancel: cancel, done: make(chan struct{})}
	go d.run(ctx, of, logger)
	return d
}

func (d *digest) run(ctx context.Context, of *reports.Reports, logger slog.Logger) {
	defer close(d.done)
	ticker := time.NewTicker(digestEvery)
	defer ticker.Stop()
	for failing := false; ; {
		_, err := of.Digest(ctx, reports.DigestOptions{Gentle: true})
		if err != nil && !failing && ctx.Err() == nil {
			logger.Warn(ctx, "costs and sessions lag behind the records, the gateway tries again", slog.F("every", digestEvery), slog.Error(err))
		}
		failing = err != nil
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// close interrupts the work and waits until it has ended.
func (d *digest) close() {
	d.cancel()
	<-d.done
}
