package main

import (
	"context"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridgedserver"
)

// watchEvery is the time between two looks at whether the files of the database are where they were.
const watchEvery = 2 * time.Second

// databaseWatch logs it once when the files of the database are lost, and once when they are back.
type databaseWatch struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// watchDatabase starts to look. The caller closes the watch.
func watchDatabase(health aibridgedserver.Health, path string, logger slog.Logger) *databaseWatch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &databaseWatch{cancel: cancel, done: make(chan struct{})}
	go w.run(ctx, health, path, logger)
	return w
}

func (w *databaseWatch) run(ctx context.Context, health aibridgedserver.Health, path string, logger slog.Logger) {
	defer close(w.done)
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for lost := false; ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		switch err := health.Intact(); {
		case err != nil && !lost:
			lost = true
			logger.Error(ctx, "database lost: records wait in the queue; put its files back, or stop the gateway and start it with what there is",
				slog.F("path", path), slog.Error(err))
		case err == nil && lost:
			lost = false
			logger.Info(ctx, "database is where it was again: records are delivered")
		}
	}
}

func (w *databaseWatch) close() {
	w.cancel()
	<-w.done
}
