package aibridged

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/contain"
	"github.com/coder/aibridged/internal/reload"
)

const (
	// toolsPatience is how long the first request of a bridge waits for the control plane to say which tools there are.
	toolsPatience = time.Second
	// toolsTimeout bounds a later question, each connecting, and the closing of the sessions.
	toolsTimeout = 5 * time.Second
	// toolsRetries is how many bridges of a pool try to build their tools again at the same moment.
	toolsRetries = 8
)

// errToolFailed is what a model reads when a call panicked. The panic itself is logged.
var errToolFailed = errors.New("the tool's session failed")

// bridgeTools are the tools of one bridge. If they cannot be built, or their sessions cannot be opened, that costs the
// tools and no request: it is tried again in the background, with growing pauses, until it succeeds or the bridge is
// closed. Until then there are no tools, and after the end there are none either.
type bridgeTools struct {
	pool *CachedBridgePool
	plan bridgePlan

	built    atomic.Pointer[mcp.ServerProxier] // Nil: none, or not yet.
	closed   atomic.Bool
	stop     context.CancelFunc
	retrying sync.WaitGroup
}

var _ mcp.ServerProxier = (*bridgeTools)(nil)

// newBridgeTools builds tools and opens their sessions. The caller closes them. Ctx is for all tries.
func newBridgeTools(ctx context.Context, pool *CachedBridgePool, plan bridgePlan) *bridgeTools {
	t := &bridgeTools{pool: pool, plan: plan}
	ctx, t.stop = context.WithCancel(ctx)
	err := t.open(ctx, toolsPatience)
	if err == nil {
		return t
	}
	pool.logger.Warn(ctx, "building MCP sessions failed: requests are served without tools, and it is tried again", t.fields(err)...)
	t.retrying.Go(func() { reload.Retry(ctx, t.again) })
	return t
}

// again builds the tools and opens their sessions once more, and reports whether that succeeded.
func (t *bridgeTools) again(ctx context.Context) bool {
	select {
	case t.pool.retries <- struct{}{}:
		defer func() { <-t.pool.retries }()
	case <-ctx.Done():
		return false
	}
	if err := t.open(ctx, toolsTimeout); err != nil {
		t.pool.logger.Debug(ctx, "building MCP sessions failed again", t.fields(err)...)
		return false
	}
	t.pool.logger.Info(ctx, "building MCP sessions succeeded after failures", slog.F("initiator_id", t.plan.req.InitiatorID))
	return true
}

// open builds the tools within a limit, unless they are built, and opens their sessions.
func (t *bridgeTools) open(ctx context.Context, limit time.Duration) error {
	if t.built.Load() == nil {
		if err := t.build(ctx, limit); err != nil {
			return err
		}
	}
	tools := t.built.Load()
	if tools == nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, toolsTimeout)
	defer cancel()
	return contain.Call(func() error { return (*tools).Init(limited) })
}

// build builds the tools within a limit. What a failed build returns is closed.
func (t *bridgeTools) build(ctx context.Context, limit time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var tools mcp.ServerProxier
	err := contain.Call(func() (err error) {
		tools, err = t.plan.mcpBootstrapper.Build(limited, t.plan.req, t.pool.tracer)
		return err
	})
	if err != nil {
		t.shutDown(ctx, tools)
		return err
	}
	if tools != nil {
		t.built.Store(&tools)
	}
	return nil
}

// isEmpty reports whether the initiator is known to have no MCP server: then requests need not look for tools.
func (t *bridgeTools) isEmpty() bool {
	built := t.built.Load()
	if built == nil {
		return false
	}
	manager, ok := (*built).(*mcp.Manager)
	return ok && manager.IsEmpty()
}

// Init implements [mcp.ServerProxier]. It does nothing: the pool opens the sessions.
func (*bridgeTools) Init(context.Context) error { return nil }

// Tools implements [mcp.ServerProxier].
func (t *bridgeTools) Tools() (tools []mcp.Tool) {
	built := t.built.Load()
	if built == nil || t.closed.Load() {
		return nil
	}
	if err := contain.Call(func() error { tools = (*built).Tools(); return nil }); err != nil {
		t.pool.logger.Error(context.Background(), "listing MCP tools failed", t.fields(err)...)
	}
	return tools
}

// Call implements [mcp.ServerProxier].
func (t *bridgeTools) Call(ctx context.Context, toolID string, input json.RawMessage) (result mcp.Result, err error) {
	if t.closed.Load() {
		return mcp.Result{}, mcp.ErrClosed
	}
	built := t.built.Load()
	if built == nil {
		return mcp.Result{}, mcp.ErrUnknownTool
	}
	err = contain.Call(func() (err error) {
		result, err = (*built).Call(ctx, toolID, input)
		return err
	})
	if panicked, ok := errors.AsType[*contain.Panic](err); ok {
		t.pool.logger.Error(ctx, "calling an MCP tool panicked", t.fields(panicked)...)
		return mcp.Result{}, errToolFailed
	}
	return result, err
}

// Shutdown implements [mcp.ServerProxier]. It does nothing: the pool closes the sessions after the last request.
func (*bridgeTools) Shutdown(context.Context) error { return nil }

// close ends the tries to build the tools, and the tools.
func (t *bridgeTools) close(ctx context.Context) {
	t.closed.Store(true)
	t.stop()
	t.retrying.Wait()
	if built := t.built.Load(); built != nil {
		t.shutDown(ctx, *built)
	}
}

// shutDown ends the sessions of tools, if there are any.
func (t *bridgeTools) shutDown(ctx context.Context, tools mcp.ServerProxier) {
	if tools == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, toolsTimeout)
	defer cancel()
	if err := contain.Call(func() error { return tools.Shutdown(ctx) }); err != nil {
		t.pool.logger.Warn(ctx, "closing MCP sessions failed", t.fields(err)...)
	}
}

func (t *bridgeTools) fields(err error) []slog.Field {
	return append(contain.Fields(err), slog.F("initiator_id", t.plan.req.InitiatorID))
}
