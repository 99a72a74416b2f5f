package main

import (
	"context"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/controlplane/join"
)

// joinWatchEvery is the time between two looks at whether the join tokens of connected gateways are still valid.
const joinWatchEvery = 500 * time.Millisecond

// joinWatch disconnects gateways whose join token is revoked, by any process.
type joinWatch struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// watchJoinTokens starts to look. The caller closes the watch.
func watchJoinTokens(control *store, gate *join.Gate, logger slog.Logger) *joinWatch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &joinWatch{cancel: cancel, done: make(chan struct{})}
	go w.run(ctx, control, gate, logger)
	return w
}

func (w *joinWatch) run(ctx context.Context, control *store, gate *join.Gate, logger slog.Logger) {
	defer close(w.done)
	ticker := time.NewTicker(joinWatchEvery)
	defer ticker.Stop()
	for failing := false; ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		err := revoke(ctx, control, gate)
		if err != nil && !failing && ctx.Err() == nil {
			logger.Warn(ctx, "it cannot be seen whether join tokens are revoked, it is tried again", slog.Error(err))
		}
		failing = err != nil
	}
}

// revoke disconnects the gateways whose join token is not valid any more.
func revoke(ctx context.Context, control *store, gate *join.Gate) error {
	used := gate.TokenIDs()
	if len(used) == 0 {
		return nil
	}
	tokens, err := control.JoinTokens(ctx)
	if err != nil {
		return err
	}
	valid := map[string]bool{}
	for _, token := range tokens {
		valid[token.ID] = token.RevokedAt == nil
	}
	for _, id := range used {
		if !valid[id] {
			gate.Revoke(id)
		}
	}
	return nil
}

func (w *joinWatch) close() {
	w.cancel()
	<-w.done
}
