package main

import (
	"net/http"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/observe"
	"github.com/coder/aibridged/internal/upstream"
)

// observerOptions say which traffic with providers is written to files.
type observerOptions struct {
	dumpDir string // Empty: no dumps.
	keepDir string // Empty: exchanges are not kept.
	keepFor time.Duration
}

// observers write the traffic with providers to files. The zero value writes nothing. A dump shows what goes over the
// network. What is kept is what clients send and get, also where a provider's transport translates, since records are made
// from that.
type observers struct {
	transport http.RoundTripper // Nil: nothing is written, and each provider has a transport of its own.
	network   *upstream.Transport
	dumper    *observe.Dumper
	keeper    *observe.Keeper
}

// newObservers returns the observers that options ask for. Each may hold half as much memory for its copies as
// bodies may take.
func newObservers(options observerOptions, limits aibridge.Limits, memory *aibridge.Memory, logger slog.Logger) (*observers, error) {
	o, held := &observers{}, int(min(memory.Limit()/2, observe.MostHeld))
	if options.dumpDir == "" && options.keepDir == "" {
		return o, nil
	}
	o.network = upstream.NewTransport(upstream.Limits{
		Dial: limits.Dial, TLSHandshake: limits.TLSHandshake, ResponseHeader: limits.ResponseHeader,
	})
	o.transport = o.network
	if options.dumpDir != "" {
		o.dumper = observe.Dump(o.transport, options.dumpDir, held, logger.Named("dump"))
		o.transport = o.dumper
	}
	if options.keepDir != "" {
		var err error
		if o.keeper, err = observe.Keep(o.transport, options.keepDir, options.keepFor, held, logger.Named("keep")); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// keep returns what keeps the exchanges of a provider, or nil if they are not kept: see [aibridge.ProviderOptions.Observe].
func (o *observers) keep() func(http.RoundTripper) http.RoundTripper {
	if o.keeper == nil {
		return nil
	}
	return o.keeper.Around
}

// close writes out what is still buffered, and closes idle connections.
func (o *observers) close() {
	if o.dumper != nil {
		o.dumper.Close()
	}
	if o.keeper != nil {
		o.keeper.Close()
	}
	if o.network != nil {
		o.network.CloseIdleConnections()
	}
}
