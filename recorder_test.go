package aibridged_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/testkit"
)

// plainPool is a host's own [aibridged.Pooler] that takes no recorder. It notes the clients that it is offered.
type plainPool struct{ clients []aibridged.DRPCClient }

func (p *plainPool) Acquire(_ context.Context, _ aibridged.Request, clientFn aibridged.ClientFunc, _ aibridged.MCPProxyBuilder) (http.Handler, error) {
	client, err := clientFn()
	p.clients = append(p.clients, client)
	return http.NotFoundHandler(), err
}

func (*plainPool) ReplaceProviders([]aibridge.Provider) {}
func (*plainPool) Shutdown(context.Context) error       { return nil }

// TestPlainPool checks that a pool is given the current client as it was dialed. It also checks that the server warns
// about a pool that takes no recorder where it has a directory for records.
func TestPlainPool(t *testing.T) {
	t.Parallel()
	for name, records := range map[string]aibridged.RecordOptions{"memory": {}, "directory": {Directory: t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dialed, err := controlplane.InProcess(&testkit.ControlPlane{})(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			pool, log := &plainPool{}, &logLines{}
			server, err := aibridged.NewServer(t.Context(), pool, func(context.Context) (aibridged.DRPCClient, error) { return dialed, nil },
				aibridged.ServerOptions{Logger: slog.Make(log), Records: records})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := server.Client(); err != nil {
				t.Fatal(err)
			}
			if _, err := server.GetRequestHandler(t.Context(), aibridged.Request{}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(pool.clients, []aibridged.DRPCClient{dialed}) {
				t.Errorf("the pool was given %v", pool.clients)
			}
			if warned := len(log.messages(slog.LevelWarn)) == 1; warned != (name == "directory") {
				t.Errorf("warned: %t", warned)
			}
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
