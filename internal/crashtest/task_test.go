package crashtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"cdr.dev/slog/v3"
	"cdr.dev/slog/v3/sloggers/sloghuman"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/controlplane"
)

const (
	// taskVariable names the environment variable that holds the task of this process as JSON.
	taskVariable = "AIBRIDGED_CRASHTEST_TASK"
	// readyLine is what a process prints once it serves.
	readyLine = "ready"

	roleGateway      = "gateway"
	roleControlPlane = "control plane"

	// taskMemory is the memory limit that the garbage collector of such a process aims at.
	taskMemory = 64 << 20
	// stopPatience is how long such a process may take to end in good order.
	stopPatience = 20 * time.Second
)

// task is the work of another process of this program. It ends with the process's standard input, and so also when the
// process that started it is gone.
type task struct {
	Role    string
	Address string // The address to listen on.

	Upstream     string                  // For a gateway: the address of its providers.
	ControlPlane string                  // For a gateway.
	Records      aibridged.RecordOptions // For a gateway.

	Database string // For a control plane: a path.
}

// runTask is the main function of a process with a task.
func runTask(text string) int {
	debug.SetMemoryLimit(taskMemory)
	var do task
	if err := json.Unmarshal([]byte(text), &do); err != nil {
		fmt.Fprintln(os.Stderr, "task:", err)
		return 1
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
		<-time.After(stopPatience + 5*time.Second)
		fmt.Fprintln(os.Stderr, "the process does not end")
		os.Exit(3)
	}()
	serve := do.serveGateway
	if do.Role == roleControlPlane {
		serve = do.serveControlPlane
	}
	if err := serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		return 1
	}
	return 0
}

func taskLogger() slog.Logger {
	return slog.Make(sloghuman.Sink(os.Stderr)).Leveled(slog.LevelInfo)
}

func (do task) serveControlPlane(ctx context.Context) (err error) {
	db, err := sqlite.Open(ctx, do.Database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	server, err := aibridgedserver.New(ctx, db, aibridgedserver.Options{Logger: taskLogger()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	listener, err := net.Listen("tcp", do.Address)
	if err != nil {
		return err
	}
	fmt.Println(readyLine)
	return controlplane.Serve(ctx, listener, server, controlplane.ServeOptions{Logger: taskLogger()})
}

func (do task) serveGateway(ctx context.Context) error {
	logger := taskLogger()
	registry := prometheus.NewRegistry()
	server, err := do.newGateway(logger, registry)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", do.Address)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle(aibridge.RootPath+"/", server)
	front := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.Stdlib(context.Background(), logger.Named("http"), slog.LevelInfo),
	}
	failed := make(chan error, 1)
	go func() { failed <- front.Serve(listener) }()
	fmt.Println(readyLine)
	select {
	case err := <-failed:
		return errors.Join(err, server.Close())
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	err = errors.Join(server.Shutdown(patience), front.Shutdown(patience))
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (do task) newGateway(logger slog.Logger, registry *prometheus.Registry) (*aibridged.Server, error) {
	const key = "the key that no upstream looks at"
	anthropic, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{BaseURL: do.Upstream, Key: key, Digests: true})
	if err != nil {
		return nil, err
	}
	openai, err := aibridge.NewOpenAIProvider("openai", aibridge.ProviderOptions{BaseURL: do.Upstream + "/v1", Key: key, Digests: true})
	if err != nil {
		return nil, err
	}
	tracer := noop.NewTracerProvider().Tracer("crashtest")
	providers := []aibridge.Provider{anthropic, openai}
	pool, err := aibridged.NewCachedBridgePool(aibridged.DefaultPoolOptions, providers, logger.Named("bridge"), nil, tracer)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", do.ControlPlane)
	}
	// Not on the context of the process: the server delivers its queue after that context has ended.
	server, err := aibridged.NewServer(context.Background(), pool, controlplane.Network(dial, controlplane.NetworkOptions{}),
		aibridged.ServerOptions{Logger: logger, Tracer: tracer, Metrics: aibridged.NewMetrics(registry), Records: do.Records})
	if err != nil {
		return nil, errors.Join(err, pool.Shutdown(context.Background()))
	}
	return server, nil
}
