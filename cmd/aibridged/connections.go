package main

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/coder/aibridged/internal/apierror"
)

const (
	// mostConnections is the default limit of connections where descriptors allow as many: so many idle streams take
	// about 1.4 GiB.
	mostConnections = 16_384
	// ownDescriptors are the descriptors that the gateway needs beside those of its connections.
	ownDescriptors = 256
	// mostRefusing is how many connections beyond the limit may be open until each has been told so.
	mostRefusing = 256
	// warnInterval is the shortest time between two lines about the limit.
	warnInterval = time.Minute
)

// connections bounds how many connections a server has. Each request on a connection beyond the limit is answered with
// 503, so that clients and balancers see what is wrong, and ends its connection. Connections beyond even those are
// closed at once. Connections without a request count, too, but end by themselves: see [newHTTPServer].
type connections struct {
	limit    int64
	refusing int64 // How many may be open beyond the limit.
	logger   slog.Logger

	open    atomic.Int64
	refused atomic.Int64 // How many there ever were beyond the limit.
	warned  atomic.Int64 // When the log said so last, in nanoseconds since 1970.
}

func newConnections(limit int, logger slog.Logger) *connections {
	return &connections{limit: int64(limit), refusing: min(int64(limit)/8+8, mostRefusing), logger: logger}
}

// defaultConnections returns the limit for a number of descriptors: each connection of a client may need a second one,
// to an upstream. Zero descriptors means that their number is not known.
func defaultConnections(descriptors uint64) int {
	if descriptors == 0 || descriptors > 2*mostConnections+ownDescriptors {
		return mostConnections
	}
	return int(max(descriptors, ownDescriptors+32)-ownDescriptors) / 2
}

// beyondLimit is the key of the context of connections beyond the limit.
type beyondLimit struct{}

// watch makes a server count its connections.
func (c *connections) watch(server *http.Server) {
	server.ConnContext = c.opened
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed || state == http.StateHijacked {
			c.open.Add(-1)
		}
	}
}

// handler refuses requests on connections beyond the limit.
func (c *connections) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isBeyond := r.Context().Value(beyondLimit{}) != nil
		if isBeyond {
			w.Header().Set("Connection", "close")
		}
		if !isBeyond || r.URL.Path == "/healthz" {
			next.ServeHTTP(w, r)
			return
		}
		apierror.ForPath(r.URL.Path).Write(w, r, &apierror.Error{
			Status: http.StatusServiceUnavailable, Text: "the gateway has too many connections, try again", RetryAfter: time.Second,
		})
	})
}

// opened counts a new connection. net/http calls it once for each, before its first request.
func (c *connections) opened(ctx context.Context, conn net.Conn) context.Context {
	open := c.open.Add(1)
	if open <= c.limit {
		return ctx
	}
	c.refused.Add(1)
	c.warn(ctx)
	if open > c.limit+c.refusing {
		_ = conn.Close() // net/http finds it closed, and ends it in good order.
	}
	return context.WithValue(ctx, beyondLimit{}, true)
}

func (c *connections) warn(ctx context.Context) {
	now, last := time.Now().UnixNano(), c.warned.Load()
	if now-last >= int64(warnInterval) && c.warned.CompareAndSwap(last, now) {
		c.logger.Warn(ctx, "connections are refused, since --max-connections is reached", slog.F("max_connections", c.limit))
	}
}

// metrics say how many connections there are and were refused.
func (c *connections) metrics() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "connections", Help: "Open connections of clients.",
		}, func() float64 { return float64(c.open.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "connections_max", Help: "The limit of open connections of clients.",
		}, func() float64 { return float64(c.limit) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "connections_refused_total", Help: "Connections of clients that were refused because of the limit.",
		}, func() float64 { return float64(c.refused.Load()) }),
	}
}
