package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/coder/aibridged/internal/upstream"
)

const (
	// roleVariable has this program be one of the processes that are measured.
	roleVariable = "AIBRIDGED_BENCH_ROLE"
	// upstreamVariable is where such a process sends requests.
	upstreamVariable = "AIBRIDGED_BENCH_UPSTREAM"

	roleUpstream = "upstream"
	roleBare     = "bare"
)

// serveRole serves in a role until ctx ends.
func serveRole(ctx context.Context, role string) error {
	switch role {
	case roleUpstream:
		return serveUpstream(ctx)
	case roleBare:
		return serveBare(ctx, os.Getenv(upstreamVariable))
	}
	return fmt.Errorf("role %q is not known", role)
}

// serveBare is a ReverseProxy that does nothing else, on a free port, which it prints. Its settings are what makes one
// fast: the gateway's transport, buffers that are used again, and a flush of each write.
func serveBare(ctx context.Context, upstreamURL string) error {
	to, err := url.Parse(upstreamURL)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport:     upstream.NewTransport(upstream.Limits{}),
		FlushInterval: -1,
		BufferPool:    &buffers{},
		ErrorLog:      log.New(io.Discard, "", 0), // Clients that leave are part of the measurement.
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Without it, a ReverseProxy cuts some of the answers that begin before it has seen its request's end.
		_ = http.NewResponseController(w).EnableFullDuplex()
		proxy.ServeHTTP(w, r)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: handler}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// buffers are a ReverseProxy's for copying.
type buffers struct{ pool sync.Pool }

// Get implements [httputil.BufferPool].
func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

// Put implements [httputil.BufferPool].
func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }
