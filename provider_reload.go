package aibridged

import (
	"context"
	"sync"

	"cdr.dev/slog/v3"
	"golang.org/x/xerrors"

	"github.com/coder/aibridged/dbpubsub"
	"github.com/coder/aibridged/internal/contain"
	"github.com/coder/aibridged/internal/reload"
)

// ProviderStatus is the result of a reload for one provider.
type ProviderStatus string

// The statuses of a provider.
const (
	ProviderStatusEnabled  ProviderStatus = "enabled"
	ProviderStatusDisabled ProviderStatus = "disabled"
	// ProviderStatusError means that the provider could not be made from its settings and is not served.
	ProviderStatusError ProviderStatus = "error"
)

// ProviderOutcome is the result of a reload for one provider.
type ProviderOutcome struct {
	Name, Type string
	Status     ProviderStatus
	Err        error // The reason, where the status is [ProviderStatusError].
}

// ProviderReloader makes the gateway serve the providers as they are configured now.
type ProviderReloader interface {
	// Reload returns once the new providers are served. Where it fails, it must leave the previous ones serving. Calls
	// never overlap.
	Reload(ctx context.Context) error
}

// SubscribeProviderReload reloads the providers whenever ps notifies of [dbpubsub.ProvidersChanged], and once before it
// returns. It listens before that first reload, so that it misses no change. A lost notification also causes a reload,
// and a burst causes one. A reload that fails or panics is logged as a warning, whose field "error" is the error itself,
// and tried again with back-off, or earlier when a notification comes; SubscribeProviderReload does not fail then.
//
// The returned function ends the subscription, and waits for a reload that is running. The end of ctx also ends the
// subscription, without waiting.
func SubscribeProviderReload(ctx context.Context, ps dbpubsub.Pubsub, reloader ProviderReloader, logger slog.Logger) (func(), error) {
	if ps == nil {
		return nil, xerrors.New("nil pubsub given")
	}
	if reloader == nil {
		return nil, xerrors.New("nil provider reloader given")
	}
	loop := reload.New(func(ctx context.Context) bool { return reloadProviders(ctx, reloader, logger) })
	// Any notification is a reason to reload, also a failed or dropped one.
	unsubscribe, err := ps.SubscribeWithErr(dbpubsub.ProvidersChanged, func(ctx context.Context, _ []byte, err error) {
		if err != nil {
			logger.Warn(ctx, "notifications of changed providers were lost", slog.Error(err))
		}
		loop.Changed()
	})
	if err != nil {
		return nil, xerrors.Errorf("subscribe to %s: %w", dbpubsub.ProvidersChanged, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	loop.Reload(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		defer unsubscribe()
		loop.Run(ctx)
	})
	return func() {
		cancel()
		running.Wait()
	}, nil
}

// reloadProviders reloads, and reports whether that succeeded.
func reloadProviders(ctx context.Context, reloader ProviderReloader, logger slog.Logger) bool {
	err := contain.Call(func() error { return reloader.Reload(ctx) })
	if err != nil && ctx.Err() == nil {
		logger.Warn(ctx, "reloading the providers failed, the previous ones go on serving", contain.Fields(err)...)
	}
	return err == nil
}
