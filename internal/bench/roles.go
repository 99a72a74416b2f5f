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
	// roleVariable is the environment variable that makes this program one of the processes that the bench starts.
	roleVariable = "AIBRIDGED_BENCH_ROLE"
	// upstreamVariable holds the URL to which such a process sends requests.
	upstreamVariable = "AIBRIDGED_BENCH_UPSTREAM"

	roleUpstream = "upstream"
	roleBare     = "bare"
	roleTools    = "tools"
)

// serveRole serves in a role until ctx ends.
func serveRole(ctx context.Context, role string) error {
	switch role {
	case roleUpstream:
		return serveUpstream(ctx)
	case roleTools:
		return serveTools(ctx)
	case roleBare:
		return serveBare(ctx, os.Getenv(upstreamVariable))
	}
	return fmt.Errorf("role %q is not known", role)
}

// serveBare runs a bare ReverseProxy on a free port, which it prints. Its settings make it fast: the gateway's
// transport, buffers that are used again, and a flush after each write.
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
		ErrorLog:      log.New(io.Discard, "", 0), // It would log clients that leave, as those of idle streams do.
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Without full duplex, a ReverseProxy cuts some answers that begin before it has read the request to its end.
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

// buffers is a pool of buffers with which a ReverseProxy copies.
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
