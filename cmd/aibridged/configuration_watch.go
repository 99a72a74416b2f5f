package main

import (
	"context"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/dbpubsub"
)

// lookEvery is the time between two looks for changes that other processes have made.
const lookEvery = 100 * time.Millisecond

// configurationWatch publishes [dbpubsub.ProvidersChanged] when any process has changed the providers or MCP servers in the
// database.
type configurationWatch struct {
	control *store
	publish dbpubsub.Pubsub
	logger  slog.Logger

	cancel context.CancelFunc
	done   chan struct{}
}

// watchConfiguration starts to look for changes after number. The caller closes the watch.
func watchConfiguration(control *store, publish dbpubsub.Pubsub, number int64, logger slog.Logger) *configurationWatch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &configurationWatch{control: control, publish: publish, logger: logger, cancel: cancel, done: make(chan struct{})}
	go w.run(ctx, number)
	return w
}

func (w *configurationWatch) run(ctx context.Context, seen int64) {
	defer close(w.done)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for failing := false; ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		number, err := w.control.ConfigurationChanges(ctx)
		if err == nil && number != seen {
			if err = w.publish.Publish(dbpubsub.ProvidersChanged, nil); err == nil {
				seen = number
			}
		}
		if err != nil && !failing && ctx.Err() == nil {
			w.logger.Warn(ctx, "changes of providers cannot be seen, it is tried again", slog.Error(err))
		}
		failing = err != nil
	}
}

func (w *configurationWatch) close() {
	w.cancel()
	<-w.done
}
