package aibridge

import (
	"context"
	"errors"
	"net/http"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/breaker"
)

// breakerOf returns the breaker of a route, or nil if it has none.
func (p *Provider) breakerOf(of route) *breaker.Breaker { return p.breakers[of.path] }

// opened returns the refusal of a request whose breaker is open, or err if it is another error.
func opened(err error) error {
	open, ok := errors.AsType[*breaker.Open](err)
	if !ok {
		return err
	}
	return &apierror.Error{
		Status: http.StatusServiceUnavailable, Text: "the upstream has been failing, and is left alone for a moment: try again", RetryAfter: open.For, Cause: err,
	}
}

// noteBreak tells the breaker of an answer that broke off, unless the client or the gateway ended the request.
func (x *relay) noteBreak() {
	if n := len(x.rounds); n > 0 && x.rounds[n-1].err != nil && x.ctx.Err() == nil {
		x.provider.breakerOf(x.to.route).BrokeOff()
		x.bridge.tellOfBreaker(x.ctx, x.to)
	}
}

// tellOfBreaker writes a line to the log if the breaker of a route has opened.
func (b *RequestBridge) tellOfBreaker(ctx context.Context, to destination) {
	if to.provider.breakerOf(to.route).HasOpened() {
		b.options.Logger.Error(ctx, "an upstream fails: requests to it are refused for a while",
			slog.F("provider", to.provider.name), slog.F("route", to.route.path))
	}
}
