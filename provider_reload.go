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

// ProviderStatus is what became of a provider in a reload.
type ProviderStatus string

// The statuses of a provider.
const (
	ProviderStatusEnabled  ProviderStatus = "enabled"
	ProviderStatusDisabled ProviderStatus = "disabled"
	// ProviderStatusError means that the provider could not be made of its settings and is not served.
	ProviderStatusError ProviderStatus = "error"
)

// ProviderOutcome is one provider's part of a reload.
type ProviderOutcome struct {
	Name, Type string
	Status     ProviderStatus
	Err        error // Why, where the status is [ProviderStatusError].
}

// ProviderReloader makes the gateway serve the providers as they are set up now.
type ProviderReloader interface {
	// Reload returns once the new providers are served. Where it fails, those before must go on serving. It is never
	// called concurrently.
	Reload(ctx context.Context) error
}

// SubscribeProviderReload reloads the providers whenever ps tells of [dbpubsub.ProvidersChanged], and once before it
// returns; it listens before it reloads, so that no change falls between. Notifications that were lost count as one, and
// a burst becomes one reload. A reload that fails or panics is logged and tried again with back-off, sooner where a
// notification comes; it is no error of SubscribeProviderReload.
//
// The function that it returns ends the subscription, and waits for a reload that is running. So does the end of ctx,
// without the waiting.
func SubscribeProviderReload(ctx context.Context, ps dbpubsub.Pubsub, reloader ProviderReloader, logger slog.Logger) (func(), error) {
	if ps == nil {
		return nil, xerrors.New("nil pubsub given")
	}
	if reloader == nil {
		return nil, xerrors.New("nil provider reloader given")
	}
	loop := reload.New(func(ctx context.Context) bool { return reloadProviders(ctx, reloader, logger) })
	// Any notification is a reason to look again, a failed or dropped one too.
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

// reloadProviders reports whether the providers are current afterwards.
func reloadProviders(ctx context.Context, reloader ProviderReloader, logger slog.Logger) bool {
	err := contain.Call(func() error { return reloader.Reload(ctx) })
	if err != nil && ctx.Err() == nil {
		logger.Error(ctx, "reloading the providers failed, the ones before stay", contain.Fields(err)...)
	}
	return err == nil
}
