package aibridged

import (
	"context"
	"sync"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/contain"
	"github.com/coder/aibridged/internal/reload"
)

const (
	// toolsPatience is how long the build of a bridge waits for its tools, which most requests do not use.
	toolsPatience = time.Second
	// toolsTimeout bounds a later try to build tools, and the closing of their sessions.
	toolsTimeout = 5 * time.Second
	// toolsRetries is how many bridges of a pool try to build their tools again at the same moment.
	toolsRetries = 8
)

// bridgeTools are the tools of one bridge. If they cannot be built, that costs the tools and no request: the build is
// tried again in the background, with growing pauses, until it succeeds or the bridge is closed.
type bridgeTools struct {
	pool *CachedBridgePool
	plan bridgePlan

	built    mcp.ServerProxier // Nil: none, or not yet. It belongs to the goroutine of retrying until that has ended.
	stop     context.CancelFunc
	retrying sync.WaitGroup
}

// newBridgeTools builds tools. The caller closes them. Ctx is for all builds.
func newBridgeTools(ctx context.Context, pool *CachedBridgePool, plan bridgePlan) *bridgeTools {
	t := &bridgeTools{pool: pool, plan: plan}
	ctx, t.stop = context.WithCancel(ctx)
	err := t.build(ctx, toolsPatience)
	if err == nil {
		return t
	}
	pool.logger.Warn(ctx, "building MCP sessions failed: requests are served without tools, and it is tried again", t.fields(err)...)
	t.retrying.Go(func() { reload.Retry(ctx, t.again) })
	return t
}

// again builds the tools once more, and reports whether that succeeded.
func (t *bridgeTools) again(ctx context.Context) bool {
	select {
	case t.pool.retries <- struct{}{}:
		defer func() { <-t.pool.retries }()
	case <-ctx.Done():
		return false
	}
	if err := t.build(ctx, toolsTimeout); err != nil {
		t.pool.logger.Debug(ctx, "building MCP sessions failed again", t.fields(err)...)
		return false
	}
	t.pool.logger.Info(ctx, "building MCP sessions succeeded after failures", slog.F("initiator_id", t.plan.req.InitiatorID))
	return true
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
	t.built = tools
	return nil
}

// close ends the tries to build the tools, and the tools.
func (t *bridgeTools) close(ctx context.Context) {
	t.stop()
	t.retrying.Wait()
	t.shutDown(ctx, t.built)
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
