package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// fakeServer is a server whose behaviour a test sets.
type fakeServer struct {
	init     func(ctx context.Context) error
	mu       sync.Mutex
	tools    []Tool
	called   string
	shutdown bool
}

func (s *fakeServer) Init(ctx context.Context) error { return s.init(ctx) }

func (s *fakeServer) Tools() []Tool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tools
}

func (s *fakeServer) set(tools ...Tool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tools = tools
}

func (s *fakeServer) Call(_ context.Context, toolID string, _ json.RawMessage) (Result, error) {
	s.called = toolID
	return Result{}, nil
}

func (s *fakeServer) Shutdown(context.Context) error {
	s.shutdown = true
	return errors.New("no farewell")
}

func newManager(t *testing.T, options ManagerOptions, servers ...ServerProxier) *Manager {
	t.Helper()
	m := NewManager(servers, options)
	t.Cleanup(func() { _ = m.Shutdown(context.WithoutCancel(t.Context())) })
	return m
}

func TestManagerWithoutServers(t *testing.T) {
	m := newManager(t, ManagerOptions{})
	if err := m.Init(t.Context()); err != nil || len(m.Tools()) > 0 {
		t.Errorf("Init: %v, tools %v", err, m.Tools())
	}
	if _, err := m.Call(t.Context(), "bmcp_srv_tool", nil); !errors.Is(err, ErrUnknownTool) {
		t.Errorf("Call: %v", err)
	}
}

func TestFailingServerIsLeftOutAlone(t *testing.T) {
	s := newRealServer(t)
	s.add("tool")
	l, logger := newLogs()
	m := newManager(t, ManagerOptions{Logger: logger, Wait: time.Hour},
		newProxy(t, ProxyOptions{ID: "broken", URL: rawServer{"initialize": answerWith("7")}.start(t)}),
		newProxy(t, ProxyOptions{ID: "fine", URL: s.url}))
	if err := m.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entry := l.await(t, "MCP server is left out for now"); !strings.Contains(field(entry, "error"), `"broken"`) {
		t.Errorf("logged %v", entry.Fields)
	}
	if result, err := m.Call(t.Context(), m.Tools()[0].ID, nil); err != nil || textOf(result) != "this is tool" {
		t.Errorf("result %+v, error %v", result, err)
	}
	if err := m.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Init(t.Context()); !errors.Is(err, ErrClosed) || len(m.Tools()) > 0 {
		t.Errorf("Init after Shutdown: %v, tools %v", err, m.Tools())
	}
}

func TestServersConnectTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func() *fakeServer {
			return &fakeServer{init: func(ctx context.Context) error { return pause(ctx, time.Second) }}
		}
		m := newManager(t, ManagerOptions{}, slow(), slow(), slow())
		begin := time.Now()
		if err := m.Init(t.Context()); err != nil || time.Since(begin) != time.Second {
			t.Errorf("Init: %v after %v", err, time.Since(begin))
		}
	})
}

func TestSlowServerJoinsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &fakeServer{}
		slow.init = func(ctx context.Context) error {
			defer slow.set(Tool{ID: "bmcp_slow_tool", ServerID: "slow", Name: "tool"})
			return pause(ctx, 10*time.Second)
		}
		m := newManager(t, ManagerOptions{Wait: 3 * time.Second}, slow)
		for i, want := range []time.Duration{3 * time.Second, 0} {
			begin := time.Now()
			if err := m.Init(t.Context()); err != nil || time.Since(begin) != want || len(m.Tools()) > 0 {
				t.Errorf("Init %d: %v after %v, tools %v", i, err, time.Since(begin), m.Tools())
			}
		}
		_ = pause(t.Context(), 8*time.Second)
		if got := names(m.Tools()); !slices.Equal(got, []string{"tool"}) {
			t.Errorf("tools %v", got)
		}
	})
}

func TestInitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, ManagerOptions{Wait: time.Hour}, &fakeServer{init: func(ctx context.Context) error { return pause(ctx, time.Hour) }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.Init(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Init: %v", err)
		}
	})
}

func TestFailingServerIsTriedEverLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var tries []time.Duration
		down := &fakeServer{}
		down.init = func(context.Context) error {
			tries = append(tries, time.Since(begin))
			if time.Since(begin) < 2*time.Hour {
				return errors.New("down")
			}
			down.set(Tool{ID: "bmcp_down_tool", ServerID: "down", Name: "tool"})
			return nil
		}
		m := newManager(t, ManagerOptions{}, down)
		if err := m.Init(t.Context()); err != nil || time.Since(begin) > 0 {
			t.Errorf("Init: %v after %v", err, time.Since(begin))
		}
		_ = pause(t.Context(), 5*time.Hour)
		if len(m.Tools()) != 1 || len(tries) < 8 || len(tries) > 40 {
			t.Errorf("tools %v after %d tries: %v", m.Tools(), len(tries), tries)
		}
		for i := 1; i < len(tries); i++ {
			if pause := tries[i] - tries[i-1]; pause < firstRetry/2 || pause > 2*lastRetry {
				t.Errorf("try %d after a pause of %v", i, pause)
			}
		}
	})
}

func TestShutdownEndsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := &fakeServer{init: func(context.Context) error { return errors.New("down") }}
		two := &fakeServer{init: func(ctx context.Context) error { return pause(ctx, time.Hour) }}
		m := NewManager([]ServerProxier{one, two}, ManagerOptions{})
		if err := m.Init(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := m.Shutdown(t.Context()); err == nil || !one.shutdown || !two.shutdown {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestNamesThatClashAcrossServers(t *testing.T) {
	one := &fakeServer{tools: []Tool{{ID: "bmcp_a_b_c", ServerID: "a", Name: "b_c"}, {ID: "bmcp_a_z", ServerID: "a", Name: "z"}}}
	two := &fakeServer{}
	for _, order := range [][]ServerProxier{{one, two}, {two, one}} {
		one.init = func(context.Context) error { return nil }
		two.init = one.init
		two.set()
		m := newManager(t, ManagerOptions{}, order...)
		before := m.Tools()
		if before[0].ID != "bmcp_a_b_c" || !sameSnapshot(before, m.Tools()) {
			t.Errorf("tools %v", before)
		}
		two.set(Tool{ID: "bmcp_a_b_c", ServerID: "a_b", Name: "c"})
		after := m.Tools()
		if len(after) != 3 || !slices.IsSortedFunc(after, byID) || after[0].ID == after[1].ID || after[2].ID != "bmcp_a_z" {
			t.Errorf("tools %v", after)
		}
		if _, err := m.Call(t.Context(), "bmcp_a_b_c", nil); !errors.Is(err, ErrUnknownTool) {
			t.Errorf("Call of the name that both have: %v", err)
		}
		for _, tool := range after {
			one.called, two.called = "", ""
			if _, err := m.Call(t.Context(), tool.ID, nil); err != nil {
				t.Error(err)
			}
			if (two.called == "bmcp_a_b_c") != (tool.ServerID == "a_b") || (one.called == "") != (tool.ServerID == "a_b") {
				t.Errorf("%v: called %q and %q", tool, one.called, two.called)
			}
		}
	}
}

func TestManagedToolsFollowTheirServers(t *testing.T) {
	s := newRealServer(t)
	s.add("one")
	l, logger := newLogs()
	m := newManager(t, ManagerOptions{Wait: time.Hour}, newProxy(t, ProxyOptions{ID: "srv", URL: s.url, Logger: logger}))
	if err := m.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.AddTool(mcpgo.NewTool("two"), nil)
	for field(l.await(t, "MCP server's tools"), "tools") != "2" {
	}
	if got := names(m.Tools()); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("tools %v", got)
	}
}
