package aibridged_test

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"storj.io/drpc"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/aibridgedmock"
	"github.com/coder/aibridged/dbpubsub"
	"github.com/coder/aibridged/proto"
)

// This file repeats the contract with the hosts that import this module: where the API changes, this file does not
// compile or the test below fails. Additions to the API go unnoticed, and may, except for methods of interfaces that
// hosts implement.

// The functions and methods.
var (
	_ func(context.Context, aibridged.Pooler, aibridged.Dialer, slog.Logger, trace.Tracer) (*aibridged.Server, error) = aibridged.New

	_ func(*aibridged.Server, http.ResponseWriter, *http.Request)                                                                                  = (*aibridged.Server).ServeHTTP
	_ func(*aibridged.Server, context.Context, aibridged.Request) (http.Handler, error)                                                            = (*aibridged.Server).GetRequestHandler
	_ func(*aibridged.Server) (aibridged.DRPCClient, error)                                                                                        = (*aibridged.Server).Client
	_ func(*aibridged.Server, context.Context) error                                                                                               = (*aibridged.Server).Shutdown
	_ func(*aibridged.Server) error                                                                                                                = (*aibridged.Server).Close
	_ func(*aibridged.CachedBridgePool, context.Context, aibridged.Request, aibridged.ClientFunc, aibridged.MCPProxyBuilder) (http.Handler, error) = (*aibridged.CachedBridgePool).Acquire
	_ func(*aibridged.CachedBridgePool, []aibridge.Provider)                                                                                       = (*aibridged.CachedBridgePool).ReplaceProviders
	_ func(*aibridged.CachedBridgePool, context.Context) error                                                                                     = (*aibridged.CachedBridgePool).Shutdown
	_ func(*aibridged.CachedBridgePool) aibridged.PoolMetrics                                                                                      = (*aibridged.CachedBridgePool).CacheMetrics
	_ func(*aibridged.Metrics)                                                                                                                     = (*aibridged.Metrics).RecordReloadAttempt
	_ func(*aibridged.Metrics, []aibridged.ProviderOutcome)                                                                                        = (*aibridged.Metrics).RecordReloadSuccess
	_ func(*aibridged.Metrics)                                                                                                                     = (*aibridged.Metrics).Unregister

	_ func(aibridged.PoolOptions, []aibridge.Provider, slog.Logger, *aibridge.Metrics, trace.Tracer) (*aibridged.CachedBridgePool, error) = aibridged.NewCachedBridgePool
	_ func(context.Context, dbpubsub.Pubsub, aibridged.ProviderReloader, slog.Logger) (func(), error)                                     = aibridged.SubscribeProviderReload
	_ func(slog.Logger, trace.Tracer, aibridged.ClientFunc) *aibridged.MCPProxyFactory                                                    = aibridged.NewMCPProxyFactory
	_ func(http.Handler) aibridge.TransportFactory                                                                                        = aibridged.NewTransportFactory
	_ func(prometheus.Registerer) *aibridged.Metrics                                                                                      = aibridged.NewMetrics
	_ func(*prometheus.GaugeVec, []aibridged.ProviderOutcome)                                                                             = aibridged.WriteProviderInfoSnapshot

	_ func(prometheus.Registerer) *aibridge.Metrics                     = aibridge.NewMetrics
	_ func(string, aibridge.ProviderOptions) (aibridge.Provider, error) = aibridge.NewAnthropicProvider
	_ func(string, aibridge.ProviderOptions) (aibridge.Provider, error) = aibridge.NewOpenAIProvider
	_ func(context.Context, aibridge.Actor) context.Context             = aibridge.AsActor
	_ func(context.Context) aibridge.Source                             = aibridge.SourceFromContext
	_ func(context.Context, string) context.Context                     = aibridge.WithDelegatedAPIKeyID
	_ func(context.Context) (string, bool)                              = aibridge.DelegatedAPIKeyIDFromContext
	_ func() dbpubsub.Pubsub                                            = dbpubsub.NewInMemory
)

// The types of functions, and the variables and constants.
var (
	_ aibridged.Dialer     = func(context.Context) (aibridged.DRPCClient, error) { return nil, nil }
	_ aibridged.ClientFunc = func() (aibridged.DRPCClient, error) { return nil, nil }

	_ []error               = []error{aibridged.ErrNoAuthKey, aibridged.ErrConnect, aibridged.ErrUnauthorized, aibridged.ErrAcquireRequestHandler}
	_ []error               = []error{aibridged.ErrEmptyConfig, aibridged.ErrCompileRegex, dbpubsub.ErrDroppedMessages}
	_ aibridged.PoolOptions = aibridged.DefaultPoolOptions
)

// The structs, with each of their documented fields.
var (
	_ = aibridged.Client{
		DRPCRecorderClient:        proto.DRPCRecorderClient(nil),
		DRPCMCPConfiguratorClient: proto.DRPCMCPConfiguratorClient(nil),
		DRPCAuthorizerClient:      proto.DRPCAuthorizerClient(nil),
		Conn:                      drpc.Conn(nil),
	}
	_ = aibridged.Request{SessionKey: string(""), APIKeyID: string(""), InitiatorID: uuid.UUID{}}
	_ = aibridged.PoolOptions{MaxItems: int64(0), TTL: time.Duration(0)}
	_ = aibridged.ProviderOutcome{Name: string(""), Type: string(""), Status: aibridged.ProviderStatus(""), Err: error(nil)}
	_ = aibridged.Metrics{
		ProviderInfo:                               (*prometheus.GaugeVec)(nil),
		ProvidersLastReloadTimestampSeconds:        prometheus.Gauge(nil),
		ProvidersLastReloadSuccessTimestampSeconds: prometheus.Gauge(nil),
	}
	_ aibridged.MCPProxyFactory
	_ aibridge.RequestBridge
	_ aibridge.Actor
)

// The interfaces, as they are documented. Each must be exactly that of the same name: an additional method breaks the
// hosts that implement it, a missing one those that call it.
type (
	documentedDRPCClient interface {
		proto.DRPCRecorderClient
		proto.DRPCMCPConfiguratorClient
		proto.DRPCAuthorizerClient
	}
	documentedDRPCServer interface {
		proto.DRPCRecorderServer
		proto.DRPCMCPConfiguratorServer
		proto.DRPCAuthorizerServer
	}
	documentedPooler interface {
		Acquire(ctx context.Context, req aibridged.Request, clientFn aibridged.ClientFunc, mcpBootstrapper aibridged.MCPProxyBuilder) (http.Handler, error)
		ReplaceProviders(providers []aibridge.Provider)
		Shutdown(ctx context.Context) error
	}
	documentedPoolMetrics interface {
		Hits() uint64
		Misses() uint64
		KeysAdded() uint64
		KeysEvicted() uint64
	}
	documentedMCPProxyBuilder interface {
		Build(ctx context.Context, req aibridged.Request, tracer trace.Tracer) (mcp.ServerProxier, error)
	}
	documentedProviderReloader interface {
		Reload(ctx context.Context) error
	}
	documentedTransportFactory interface {
		TransportFor(providerName string, source aibridge.Source) (http.RoundTripper, error)
	}
	documentedPubsub interface {
		Publish(event string, message []byte) error
		Subscribe(event string, listener dbpubsub.Listener) (cancel func(), err error)
		SubscribeWithErr(event string, listener dbpubsub.ListenerWithErr) (cancel func(), err error)
		Close() error
	}
)

var (
	_ aibridged.DRPCClient       = documentedDRPCClient(nil)
	_ documentedDRPCClient       = aibridged.DRPCClient(nil)
	_ aibridged.DRPCServer       = documentedDRPCServer(nil)
	_ documentedDRPCServer       = aibridged.DRPCServer(nil)
	_ aibridged.Pooler           = documentedPooler(nil)
	_ documentedPooler           = aibridged.Pooler(nil)
	_ aibridged.PoolMetrics      = documentedPoolMetrics(nil)
	_ documentedPoolMetrics      = aibridged.PoolMetrics(nil)
	_ aibridged.MCPProxyBuilder  = documentedMCPProxyBuilder(nil)
	_ documentedMCPProxyBuilder  = aibridged.MCPProxyBuilder(nil)
	_ aibridged.ProviderReloader = documentedProviderReloader(nil)
	_ documentedProviderReloader = aibridged.ProviderReloader(nil)
	_ aibridge.TransportFactory  = documentedTransportFactory(nil)
	_ documentedTransportFactory = aibridge.TransportFactory(nil)
	_ dbpubsub.Pubsub            = documentedPubsub(nil)
	_ documentedPubsub           = dbpubsub.Pubsub(nil)
)

// The types that implement them.
var (
	_ http.Handler              = (*aibridged.Server)(nil)
	_ http.Handler              = (*aibridge.RequestBridge)(nil)
	_ aibridged.Pooler          = (*aibridged.CachedBridgePool)(nil)
	_ aibridged.MCPProxyBuilder = (*aibridged.MCPProxyFactory)(nil)
	_ aibridged.DRPCClient      = (*aibridged.Client)(nil)
	_ aibridged.DRPCClient      = (*aibridgedmock.MockDRPCClient)(nil)
	_ aibridged.Pooler          = (*aibridgedmock.MockPooler)(nil)
	_ aibridge.Recorder         = discardRecords{}
	_ aibridge.Record           = (*aibridge.InterceptionStart)(nil)
	_ aibridge.Record           = (*aibridge.PromptUsage)(nil)
	_ aibridge.Record           = (*aibridge.TokenUsage)(nil)
	_ aibridge.Record           = (*aibridge.ToolUsage)(nil)
	_ aibridge.Record           = (*aibridge.ModelThought)(nil)
	_ aibridge.Record           = (*aibridge.InterceptionEnd)(nil)
)

// discardRecords is a host's Recorder.
type discardRecords struct{}

func (discardRecords) Record(context.Context, ...aibridge.Record) (aibridge.Commit, error) {
	return nil, nil
}

// The texts and values that hosts compare with.
func TestAPIValues(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"no authentication key provided":    aibridged.ErrNoAuthKey,
		"could not connect to coderd":       aibridged.ErrConnect,
		"unauthorized":                      aibridged.ErrUnauthorized,
		"failed to acquire request handler": aibridged.ErrAcquireRequestHandler,
		"empty config given":                aibridged.ErrEmptyConfig,
		"compile tool regex":                aibridged.ErrCompileRegex,
	} {
		if err.Error() != want {
			t.Errorf("an error says %q, want %q", err, want)
		}
		if kind := reflect.TypeOf(err).String(); !strings.HasPrefix(kind, "*xerrors.") {
			t.Errorf("error %q is a %s, want one of xerrors", want, kind)
		}
	}
	// Constants stay constants: each of these conversions needs one.
	const (
		coder    string                   = aibridged.InternalMCPServerID
		root     string                   = aibridge.RootPath
		changed  string                   = dbpubsub.ProvidersChanged
		agents   aibridge.Source          = aibridge.SourceAgents
		enabled  aibridged.ProviderStatus = aibridged.ProviderStatusEnabled
		disabled aibridged.ProviderStatus = aibridged.ProviderStatusDisabled
		failed   aibridged.ProviderStatus = aibridged.ProviderStatusError
	)
	for want, got := range map[string]string{
		"coder": coder, "ai_providers_changed": changed, "/api/v2/aibridged": root, "agents": string(agents),
		"enabled": string(enabled), "disabled": string(disabled), "error": string(failed),
	} {
		if got != want {
			t.Errorf("a constant is %q, want %q", got, want)
		}
	}
	if want := (aibridged.PoolOptions{MaxItems: 5000, TTL: 15 * time.Minute}); aibridged.DefaultPoolOptions != want {
		t.Errorf("the default pool options are %v, want %v", aibridged.DefaultPoolOptions, want)
	}
}

// These structs have the documented fields and no others, in their order: hosts write and compare them.
func TestAPIFields(t *testing.T) {
	t.Parallel()
	for want, value := range map[string]any{
		"DRPCRecorderClient DRPCMCPConfiguratorClient DRPCAuthorizerClient Conn": aibridged.Client{},
		"SessionKey APIKeyID InitiatorID":                                        aibridged.Request{},
		"MaxItems TTL":                                                           aibridged.PoolOptions{},
		"Name Type Status Err":                                                   aibridged.ProviderOutcome{},
	} {
		kind := reflect.TypeOf(value)
		var names []string
		for i := range kind.NumField() {
			names = append(names, kind.Field(i).Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s has fields %s, want %s", kind, got, want)
		}
	}
}
