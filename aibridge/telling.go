package aibridge

import (
	"context"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/keys"
)

// tellOfKey writes a line to the log if the key of a request has begun to rest.
func (b *RequestBridge) tellOfKey(ctx context.Context, provider *Provider, of upstreamCredential, verdict keys.Verdict) {
	if !verdict.New {
		return
	}
	fields := []slog.Field{
		slog.F("provider", provider.name), slog.F("key", of.hint()), slog.F("state", string(verdict.State)), slog.F("rests_for", verdict.For),
	}
	switch verdict.State {
	case keys.Limited:
		b.options.Logger.Info(ctx, "a key has reached a limit", fields...)
	case keys.Dead:
		b.options.Logger.Error(ctx, "a key has no credit left or is disabled: replace it", fields...)
	default:
		b.options.Logger.Error(ctx, "a key is refused: replace it", fields...)
	}
}

// tellOfBreaker writes a line to the log if the breaker of a route has opened.
func (b *RequestBridge) tellOfBreaker(ctx context.Context, to destination) {
	if to.provider.breakerOf(to.route).HasOpened() {
		b.options.Logger.Error(ctx, "an upstream fails: requests to it are refused for a while",
			slog.F("provider", to.provider.name), slog.F("route", to.route.path))
	}
}
