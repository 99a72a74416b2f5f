package aibridged

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/lease"
)

// bridgePlan is what a bridge is built from, taken from the Acquire that found none.
type bridgePlan struct {
	req             Request
	clientFn        ClientFunc
	mcpBootstrapper MCPProxyBuilder // Nil: no tools.
	parent          trace.SpanContext
}

// builder returns build with its plan. It is a function of its own so that the plan is allocated only where a build may
// run.
func (p *CachedBridgePool) builder(plan bridgePlan) lease.Build[*aibridge.RequestBridge] {
	return func(ctx context.Context) (*aibridge.RequestBridge, func(context.Context), error) {
		return p.build(ctx, plan)
	}
}

// build makes a bridge, and returns with it a function that closes its tools and what it leaves behind. It fails only
// where the pool gave it up: a bridge serves its requests without tools too.
func (p *CachedBridgePool) build(ctx context.Context, plan bridgePlan) (*aibridge.RequestBridge, func(context.Context), error) {
	options := aibridge.BridgeOptions{APIKeyID: plan.req.APIKeyID, Logger: p.logger, Tracer: p.tracer, Metrics: p.metrics}
	providers := p.current()
	end := func(context.Context) { p.leave(providers) }
	if plan.mcpBootstrapper != nil {
		tools := newBridgeTools(trace.ContextWithSpanContext(ctx, plan.parent), p, plan)
		end = func(ctx context.Context) {
			tools.close(ctx)
			p.leave(providers)
		}
		if !tools.isEmpty() {
			options.Tools, options.ToolLimits, options.Conversations = tools, p.toolLimits(), p.conversationsFor(plan.clientFn)
		}
	}
	return aibridge.NewRequestBridge(providers, p.recorderOf(plan.clientFn), options), end, context.Cause(ctx)
}

// leave closes the connections that a bridge has left behind in providers that were replaced: its last requests may have put
// them back after ReplaceProviders closed those that were idle.
func (p *CachedBridgePool) leave(providers *aibridge.ProviderSet) {
	if providers != p.current() {
		providers.CloseIdleConnections()
	}
}
