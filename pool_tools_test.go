package aibridged

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/coder/aibridged/aibridge/mcp"
)

// scriptedTools are sessions whose behaviour a test sets.
type scriptedTools struct {
	init     func(ctx context.Context) error
	call     func(ctx context.Context) (mcp.Result, error)
	opened   atomic.Bool
	shutdown atomic.Int32
}

func (s *scriptedTools) Init(ctx context.Context) error {
	if err := s.init(ctx); err != nil {
		return err
	}
	s.opened.Store(true)
	return nil
}

func (s *scriptedTools) Tools() []mcp.Tool {
	if !s.opened.Load() {
		return nil
	}
	return []mcp.Tool{{ID: "bmcp_srv_tool"}}
}

func (s *scriptedTools) Call(ctx context.Context, _ string, _ json.RawMessage) (mcp.Result, error) {
	return s.call(ctx)
}

func (s *scriptedTools) Shutdown(context.Context) error {
	s.shutdown.Add(1)
	return nil
}

// toolsBuilder is a function as an MCPProxyBuilder.
type toolsBuilder func() (mcp.ServerProxier, error)

func (f toolsBuilder) Build(context.Context, Request, trace.Tracer) (mcp.ServerProxier, error) {
	return f()
}

func newToolsOf(t *testing.T, build toolsBuilder) (*bridgeTools, func()) {
	t.Helper()
	pool, err := NewCachedBridgePool(PoolOptions{}, nil, slog.Logger{}, nil, noop.NewTracerProvider().Tracer(""))
	if err != nil {
		t.Fatal(err)
	}
	tools := newBridgeTools(t.Context(), pool, bridgePlan{mcpBootstrapper: build})
	return tools, sync.OnceFunc(func() {
		tools.close(t.Context())
		if err := pool.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func never(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// The tools of a bridge are there once its sessions are open, and gone once it is closed.
func TestBridgeTools(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sessions := &scriptedTools{
			init: func(context.Context) error { return nil },
			call: func(context.Context) (mcp.Result, error) { return mcp.Result{IsError: true}, nil },
		}
		tools, end := newToolsOf(t, func() (mcp.ServerProxier, error) { return sessions, nil })
		defer end()
		if len(tools.Tools()) != 1 {
			t.Errorf("tools %v", tools.Tools())
		}
		if result, err := tools.Call(t.Context(), "bmcp_srv_tool", nil); err != nil || !result.IsError {
			t.Errorf("result %v, error %v", result, err)
		}
		// The bridge neither opens nor closes the sessions.
		if err := errors.Join(tools.Init(t.Context()), tools.Shutdown(t.Context())); err != nil || sessions.shutdown.Load() != 0 {
			t.Errorf("error %v, %d shutdowns", err, sessions.shutdown.Load())
		}
		end()
		if len(tools.Tools()) != 0 || sessions.shutdown.Load() != 1 {
			t.Errorf("tools %v after the end, %d shutdowns", tools.Tools(), sessions.shutdown.Load())
		}
		if _, err := tools.Call(t.Context(), "bmcp_srv_tool", nil); !errors.Is(err, mcp.ErrClosed) {
			t.Errorf("Call after the end: %v", err)
		}
	})
}

// Sessions that do not open hold the first request up for a few seconds only, whatever their Init does with its time, and
// are opened later.
func TestFault89SessionsThatDoNotOpen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		init func(ctx context.Context) error
		most time.Duration
	}{
		"hang":  {never, toolsTimeout},
		"fail":  {func(context.Context) error { return errors.New("no") }, 0},
		"panic": {func(context.Context) error { panic("no") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var well atomic.Bool
				sessions := &scriptedTools{init: func(ctx context.Context) error {
					if well.Load() {
						return nil
					}
					return test.init(ctx)
				}}
				builds := 0
				began := time.Now()
				tools, end := newToolsOf(t, func() (mcp.ServerProxier, error) {
					builds++
					return sessions, nil
				})
				defer end()
				if took := time.Since(began); took != test.most || len(tools.Tools()) != 0 {
					t.Errorf("tools %v after %s", tools.Tools(), took)
				}
				well.Store(true)
				time.Sleep(10 * time.Second)
				if len(tools.Tools()) != 1 || builds != 1 {
					t.Errorf("tools %v after %d builds", tools.Tools(), builds)
				}
			})
		})
	}
}

// The end of a bridge ends the opening of its sessions.
func TestBridgeToolsEndWhileTheyOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sessions := &scriptedTools{init: never}
		tools, end := newToolsOf(t, func() (mcp.ServerProxier, error) { return sessions, nil })
		time.Sleep(3 * time.Second) // It is tried again.
		end()
		if len(tools.Tools()) != 0 || sessions.shutdown.Load() != 1 {
			t.Errorf("tools %v, %d shutdowns", tools.Tools(), sessions.shutdown.Load())
		}
	})
}

// Tools that are not built yet are no tools.
func TestBridgeToolsBeforeTheirBuild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tools, end := newToolsOf(t, func() (mcp.ServerProxier, error) { return nil, errors.New("no control plane") })
		defer end()
		if _, err := tools.Call(t.Context(), "bmcp_srv_tool", nil); len(tools.Tools()) != 0 || !errors.Is(err, mcp.ErrUnknownTool) {
			t.Errorf("tools %v, Call: %v", tools.Tools(), err)
		}
	})
}

// A call that panics is an error that says nothing of the panic.
func TestFault94CallPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tools, end := newToolsOf(t, func() (mcp.ServerProxier, error) {
			return &scriptedTools{
				init: func(context.Context) error { return nil },
				call: func(context.Context) (mcp.Result, error) { panic("with a secret") },
			}, nil
		})
		defer end()
		if _, err := tools.Call(t.Context(), "bmcp_srv_tool", nil); !errors.Is(err, errToolFailed) {
			t.Errorf("error %v", err)
		}
	})
}
