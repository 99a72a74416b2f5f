package aibridged_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/dbpubsub"
)

// poolReloader is a host's ProviderReloader: it makes providers from the configuration, and hands them to the pool.
type poolReloader struct {
	pool    aibridged.Pooler
	metrics *aibridged.Metrics
}

// Reload implements aibridged.ProviderReloader.
func (r poolReloader) Reload(context.Context) error {
	r.metrics.RecordReloadAttempt()
	claude, err := aibridge.NewAnthropicProvider("claude", aibridge.ProviderOptions{Disabled: true}) // A host reads this from its database.
	if err != nil {
		return err
	}
	r.pool.ReplaceProviders([]aibridge.Provider{claude})
	r.metrics.RecordReloadSuccess([]aibridged.ProviderOutcome{
		{Name: claude.Name(), Type: claude.Type(), Status: aibridged.ProviderStatusDisabled},
	})
	return nil
}

func ExampleSubscribeProviderReload() {
	ctx, logger := context.Background(), slog.Logger{}
	pool, err := aibridged.NewCachedBridgePool(aibridged.DefaultPoolOptions, nil, logger, nil, noop.NewTracerProvider().Tracer(""))
	if err != nil {
		fmt.Println(err)
		return
	}
	ps := dbpubsub.NewInMemory() // The code that changes the providers publishes dbpubsub.ProvidersChanged.
	defer ps.Close()
	reloader := poolReloader{pool, aibridged.NewMetrics(prometheus.NewRegistry())}
	cancel, err := aibridged.SubscribeProviderReload(ctx, ps, reloader, logger)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cancel()

	fmt.Println(askPool(ctx, pool))
	if err := pool.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: 503 Service Unavailable
}

// askPool serves a request with a user's bridge, and returns the status of the answer. A Server does this for hosts.
func askPool(ctx context.Context, pool aibridged.Pooler) string {
	req := aibridged.Request{SessionKey: "the user's token", APIKeyID: "id of the token", InitiatorID: uuid.New()}
	handler, err := pool.Acquire(ctx, req, func() (aibridged.DRPCClient, error) { return nil, aibridged.ErrConnect }, nil)
	if err != nil {
		return err.Error()
	}
	w := httptest.NewRecorder()
	ctx = aibridge.AsActor(ctx, aibridge.Actor{ID: req.InitiatorID.String()})
	handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/claude/v1/models", nil))
	return w.Result().Status
}
