package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/upstream"
	"github.com/coder/aibridged/proto"
)

// usagePath is where a process tells what it has used.
const usagePath = "/-/usage"

// usage is what a process has used since it began.
type usage struct {
	CPU    time.Duration // User and system time.
	Memory int64         // Heap and stacks in use, after a collection, in bytes.
}

// serveRole serves on a free port, which it prints, until ctx ends or its parent does.
func serveRole(ctx context.Context, role, upstreamURL string) error {
	handler, token, closer, err := newRole(ctx, role, upstreamURL)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, closer())
	}
	fmt.Printf("http://%s %s\n", listener.Addr(), token)
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == usagePath {
			_ = json.NewEncoder(w).Encode(ownUsage())
			return
		}
		handler.ServeHTTP(w, r)
	})}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, closer())
	}
	return closer()
}

func ownUsage() usage {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return usage{}
	}
	cpu := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	debug.FreeOSMemory()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return usage{CPU: cpu, Memory: int64(memory.HeapAlloc + memory.StackInuse)}
}

// newRole returns a role's handler, and the token that its clients need.
func newRole(ctx context.Context, role, upstreamURL string) (_ http.Handler, token string, closer func() error, _ error) {
	nothing := func() error { return nil }
	switch role {
	case "upstream":
		return http.HandlerFunc(serveUpstream), "none", nothing, nil
	case "bare":
		target, err := url.Parse(upstreamURL)
		proxy := &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
			Transport: upstream.NewTransport(upstream.Limits{}),
			ErrorLog:  log.New(io.Discard, "", 0), // Clients that leave are part of the measurement.
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Without it, a ReverseProxy cuts some of the answers that begin before it has seen its request's end.
			_ = http.NewResponseController(w).EnableFullDuplex()
			proxy.ServeHTTP(w, r)
		}), "none", nothing, err
	case "library":
		handler, err := newGateway(ctx, upstreamURL, "", controlplane.InProcess(&forgetful{owner: uuid.New()}))
		return handler, "any-token", nothing, err
	case "gateway":
		debug.SetGCPercent(400) // As serve does.
		return newStoringGateway(ctx, upstreamURL)
	}
	return nil, "", nothing, fmt.Errorf("role %q is not known", role)
}

// newStoringGateway returns what `aibridged serve` is: a gateway whose control plane stores in SQLite, in one process.
func newStoringGateway(ctx context.Context, upstreamURL string) (_ http.Handler, token string, _ func() error, _ error) {
	directory, err := os.MkdirTemp("", "aibridged-bench-")
	if err != nil {
		return nil, "", nil, err
	}
	closer := func() error { return os.RemoveAll(directory) }
	db, err := sqlite.Open(ctx, filepath.Join(directory, "bench.db"))
	if err != nil {
		return nil, "", closer, err
	}
	store, err := aibridgedserver.New(ctx, db, aibridgedserver.Options{})
	if err != nil {
		return nil, "", closer, errors.Join(err, db.Close())
	}
	closer = func() error { return errors.Join(store.Close(), db.Close(), os.RemoveAll(directory)) }
	if token, _, err = store.CreateToken(ctx, aibridgedserver.TokenParams{Username: "bench"}); err != nil {
		return nil, "", closer, err
	}
	handler, err := newGateway(ctx, upstreamURL, filepath.Join(directory, "records"), controlplane.InProcess(store))
	return handler, token, closer, err
}

func newGateway(ctx context.Context, upstreamURL, records string, dialer aibridged.Dialer) (http.Handler, error) {
	provider, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{BaseURL: upstreamURL, Key: "a-key-of-no-account"})
	if err != nil {
		return nil, err
	}
	tracer := noop.NewTracerProvider().Tracer("bench")
	pool, err := aibridged.NewCachedBridgePool(aibridged.PoolOptions{}, []aibridge.Provider{provider}, slog.Logger{}, nil, tracer)
	if err != nil {
		return nil, err
	}
	return aibridged.NewServer(ctx, pool, dialer, aibridged.ServerOptions{Records: aibridged.RecordOptions{Directory: records}})
}

// forgetful is a control plane that takes everything and keeps nothing: what remains is the gateway's own work.
type forgetful struct {
	proto.DRPCRecorderUnimplementedServer
	proto.DRPCMCPConfiguratorUnimplementedServer

	owner uuid.UUID
}

// IsAuthorized implements proto.DRPCAuthorizerServer.
func (f *forgetful) IsAuthorized(context.Context, *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
	return &proto.IsAuthorizedResponse{OwnerId: f.owner.String(), ApiKeyId: "bench", Username: "bench"}, nil
}

// RecordBatch implements proto.DRPCRecorderServer.
func (*forgetful) RecordBatch(context.Context, *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	return &proto.RecordBatchResponse{}, nil
}

// GetMCPServerConfigs implements proto.DRPCMCPConfiguratorServer.
func (*forgetful) GetMCPServerConfigs(context.Context, *proto.GetMCPServerConfigsRequest) (*proto.GetMCPServerConfigsResponse, error) {
	return &proto.GetMCPServerConfigsResponse{}, nil
}
