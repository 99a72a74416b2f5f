package aibridged

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/xerrors"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/contain"
)

// bridgePlan is what a bridge is made of, as the Acquire that found none had it.
type bridgePlan struct {
	req             Request
	clientFn        ClientFunc
	mcpBootstrapper MCPProxyBuilder // Nil: no tools.
	parent          trace.SpanContext
}

// build makes an entry's bridge. It holds the entry, so that Shutdown waits for it.
func (p *CachedBridgePool) build(entry *poolEntry, providers *aibridge.ProviderSet, plan bridgePlan) {
	ctx, cancel := context.WithTimeout(trace.ContextWithSpanContext(p.patience, plan.parent), buildTimeout)
	defer cancel()
	entry.tools, entry.err = p.buildTools(ctx, plan)
	entry.bridge = aibridge.NewRequestBridge(providers, p.recorderOf(plan.clientFn), aibridge.BridgeOptions{
		APIKeyID: plan.req.APIKeyID, Logger: p.logger, Tracer: p.tracer, Metrics: p.metrics,
	})
	if entry.err != nil {
		p.mu.Lock()
		p.unlink(entry)
		p.mu.Unlock()
	}
	close(entry.built)
	p.release(entry)
}

// buildTools returns the tools of a bridge. There may be some beside an error too, which are closed like others.
func (p *CachedBridgePool) buildTools(ctx context.Context, plan bridgePlan) (tools mcp.ServerProxier, err error) {
	if plan.mcpBootstrapper == nil {
		return nil, nil
	}
	err = contained(func() (err error) {
		tools, err = plan.mcpBootstrapper.Build(ctx, plan.req, p.tracer)
		return err
	})
	if err == nil {
		return tools, nil
	}
	if _, panicked := errors.AsType[*contain.Panic](err); panicked {
		p.logger.Error(ctx, "building a bridge panicked", withStack(err)...)
	}
	return tools, xerrors.Errorf("build MCP sessions of initiator %s: %w", plan.req.InitiatorID, err)
}
