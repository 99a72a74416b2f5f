package aibridged

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"cdr.dev/slog/v3"
	"golang.org/x/xerrors"

	"github.com/coder/aibridged/dbpubsub"
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

const (
	// reloadPause follows each reload, so that a second of notifications is two reloads, however many they are.
	reloadPause      = time.Second
	reloadBackoffMin = time.Second
	reloadBackoffMax = time.Minute
)

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
	s := &providerSubscription{reloader: reloader, logger: logger, changed: make(chan struct{}, 1)}
	unsubscribe, err := ps.SubscribeWithErr(dbpubsub.ProvidersChanged, s.notified)
	if err != nil {
		return nil, xerrors.Errorf("subscribe to %s: %w", dbpubsub.ProvidersChanged, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	current := s.reload(ctx)
	var loop sync.WaitGroup
	loop.Go(func() {
		defer unsubscribe()
		s.run(ctx, current)
	})
	return func() {
		cancel()
		loop.Wait()
	}, nil
}

// providerSubscription turns notifications into reloads, which never overlap.
type providerSubscription struct {
	reloader ProviderReloader
	logger   slog.Logger
	changed  chan struct{} // Holds at most one: look again.
}

// notified takes any notification, a failed or dropped one too, as a reason to look again.
func (s *providerSubscription) notified(ctx context.Context, _ []byte, err error) {
	if err != nil {
		s.logger.Warn(ctx, "notifications of changed providers were lost", slog.Error(err))
	}
	select {
	case s.changed <- struct{}{}:
	default: // A reload that has not begun yet will see this change too.
	}
}

// run reloads for as long as ctx lasts. The reload before it left the providers current, or did not.
func (s *providerSubscription) run(ctx context.Context, current bool) {
	backoff := reloadBackoffMin
	for {
		var retry <-chan time.Time // Never, while the providers are current.
		if current {
			backoff = reloadBackoffMin
		} else {
			// Half of each pause is left to chance, so that many gateways do not come back at the same moment.
			retry = time.After(backoff/2 + rand.N(backoff/2+1))
			backoff = min(2*backoff, reloadBackoffMax)
		}
		select {
		case <-s.changed:
		case <-retry:
		case <-ctx.Done():
			return
		}
		if ctx.Err() != nil {
			return // Select does not prefer.
		}
		current = s.reload(ctx)
		select {
		case <-time.After(reloadPause):
		case <-ctx.Done():
			return
		}
	}
}

// reload reports whether the providers are current.
func (s *providerSubscription) reload(ctx context.Context) bool {
	select {
	case <-s.changed: // What was notified until now, this reload sees.
	default:
	}
	err := contained(func() error { return s.reloader.Reload(ctx) })
	if err != nil && ctx.Err() == nil {
		s.logger.Error(ctx, "reloading the providers failed, the ones before stay", withStack(err)...)
	}
	return err == nil
}
