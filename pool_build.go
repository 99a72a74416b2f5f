package aibridged

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/xerrors"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/contain"
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

// build makes a bridge, and returns with it a function that closes its tools.
func (p *CachedBridgePool) build(ctx context.Context, plan bridgePlan) (*aibridge.RequestBridge, func(context.Context), error) {
	providers := p.current()
	ctx, cancel := context.WithTimeout(trace.ContextWithSpanContext(ctx, plan.parent), buildTimeout)
	defer cancel()
	tools, err := p.buildTools(ctx, plan)
	bridge := aibridge.NewRequestBridge(providers, p.recorderOf(plan.clientFn), aibridge.BridgeOptions{
		APIKeyID: plan.req.APIKeyID, Logger: p.logger, Tracer: p.tracer, Metrics: p.metrics,
	})
	if tools == nil {
		return bridge, nil, err
	}
	return bridge, func(ctx context.Context) { p.closeTools(ctx, tools) }, err
}

// buildTools returns the tools of a bridge. It may return tools beside an error; the caller closes those too.
func (p *CachedBridgePool) buildTools(ctx context.Context, plan bridgePlan) (tools mcp.ServerProxier, err error) {
	if plan.mcpBootstrapper == nil {
		return nil, nil
	}
	err = contain.Call(func() (err error) {
		tools, err = plan.mcpBootstrapper.Build(ctx, plan.req, p.tracer)
		return err
	})
	if err == nil {
		return tools, nil
	}
	if _, panicked := errors.AsType[*contain.Panic](err); panicked {
		p.logger.Error(ctx, "building a bridge panicked", contain.Fields(err)...)
	}
	return tools, xerrors.Errorf("build MCP sessions of initiator %s: %w", plan.req.InitiatorID, err)
}

// closeTools ends the sessions of a bridge.
func (p *CachedBridgePool) closeTools(ctx context.Context, tools mcp.ServerProxier) {
	ctx, cancel := context.WithTimeout(ctx, toolsTimeout)
	defer cancel()
	if err := contain.Call(func() error { return tools.Shutdown(ctx) }); err != nil {
		p.logger.Warn(ctx, "closing MCP sessions failed", contain.Fields(err)...)
	}
}
