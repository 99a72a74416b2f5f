package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
)

// controlPlane is what a gateway needs of its control plane, which is in this process or elsewhere.
type controlPlane interface {
	// dialer connects the gateway with it.
	dialer() aibridged.Dialer
	// provide makes the gateway serve its providers, and goes on to as they change, until stop is called, which waits.
	// Providers that are not known yet are no error.
	provide(ctx context.Context, to *servedProviders, logger slog.Logger) (stop func(), err error)
	// shared is asked about the requests that the gateway's own limits let in. Nil: there are no others.
	shared() aibridge.SharedAdmission
	// asked is asked whether the requests that the limits let in may cost something. Nil: there are no budgets.
	asked() aibridge.Budgets
	// notReady returns why the gateway should be given no requests, in one line that is for everybody's eyes, or nil.
	notReady(ctx context.Context) error
	// reseed takes the providers and MCP servers of a configuration that was read again.
	reseed(ctx context.Context, c config, logger slog.Logger) error
	// close is called once the gateway no longer uses it.
	close() error
}

// gateway is a gateway behind one HTTP handler.
type gateway struct {
	lock    *aibridged.RecordsLock // Nil where the system has no locks.
	control controlPlane
	plane   *plane // The control plane, if it is in this process.
	trim    *trim
	tracing *tracing
	// certificate is nil if the gateway does not speak TLS.
	certificate *certificate
	ready       *readiness
	server      *aibridged.Server
	http        *http.Server
	admin       *http.Server
	observers   *observers
	providers   *servedProviders
	stopLoads   func() // Ends the reloads of providers.
	adminFile   string // Says where operators look. Empty: there is none.
	drain       drainOptions
	logger      slog.Logger
	// upstreams outlives the providers, also those that a reload makes.
	upstreams *aibridge.Upstreams

	draining atomic.Bool
}

// gatewayOptions are the optional settings of a gateway.
type gatewayOptions struct {
	planeOptions

	observers   observerOptions
	records     aibridged.RecordOptions // Without a directory: in the data directory.
	memory      int64                   // In bytes; zero: see [aibridge.NewMemory].
	adminListen string                  // Where admin will listen: its host is a name of its own.
	adminHosts  []string                // Further names of admin.
	// maxConnections is the limit of connections to the API. Zero: what the descriptors of the process allow.
	maxConnections int
	digests        bool // Record digests of bodies. They are also recorded if exchanges are kept.
	noConsole      bool // Serve no page.
	drain          drainOptions
	connectWait    time.Duration // See [aibridged.ServerOptions], as for dialPause.
	dialPause      time.Duration
	// needsNoProviders says that those of the configuration may not be needed, so that their secrets may be missing.
	needsNoProviders bool
	logger           slog.Logger
	metrics          []prometheus.Collector // Further metrics, registered under the program's prefix.
}

// keepsOnDisk reports whether records wait in the data directory.
func (o gatewayOptions) keepsOnDisk() bool {
	return o.records.Durability != aibridged.DurabilityMemory && o.records.Directory == ""
}

// checkProviders returns an error if one of the configured providers cannot be made.
func (o gatewayOptions) checkProviders(c config) error {
	if !o.needsNoProviders {
		return c.checkProviders()
	}
	return c.checkEachProvider(providerConfig.check)
}

// newGateway makes a gateway and its control plane. It does not listen; serve does.
func newGateway(ctx context.Context, s settings, c config, options gatewayOptions) (*gateway, error) {
	return makeGateway(ctx, s, c, options, func(g *gateway) (err error) {
		options.queued = options.keepsOnDisk()
		g.plane, err = openPlane(ctx, s, c, options.planeOptions, options.logger)
		if err == nil {
			g.control = g.plane
		}
		return err
	})
}

// edge is what a configuration says of the connections of clients and operators.
type edge struct {
	browsers *browsers
	proxies  *proxies
	admin    map[string]bool // The names of the listener for operators.
}

func newEdge(c config, options gatewayOptions) (e edge, err error) {
	if e.browsers, err = newBrowsers(c.CORSOrigins); err != nil {
		return e, err
	}
	if e.admin, err = adminNames(options.adminListen, options.adminHosts); err != nil {
		return e, err
	}
	e.proxies, err = newProxies(c.TrustedProxies)
	return e, err
}

// makeGateway makes a gateway. Connect gives it its control plane, once it has the lock of the data directory.
func makeGateway(ctx context.Context, s settings, c config, options gatewayOptions, connect func(*gateway) error) (_ *gateway, err error) {
	g, logger := &gateway{upstreams: aibridge.NewUpstreams(), drain: options.drain, logger: options.logger}, options.logger
	g.ready = &readiness{check: g.notReady}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close(ctx))
		}
	}()
	if err := options.checkProviders(c); err != nil { // What cannot be is refused before anything is made.
		return nil, err
	}
	at, err := newEdge(c, options)
	if err != nil {
		return nil, err
	}
	if options.maxConnections == 0 {
		options.maxConnections = defaultConnections(descriptors())
	}
	if g.tracing, err = startTracing(ctx, logger.Named("tracing")); err != nil {
		return nil, err
	}
	if c.TLS != nil {
		if g.certificate, err = watchCertificate(*c.TLS, logger.Named("tls")); err != nil {
			return nil, err
		}
	}
	// The lock comes first: a gateway that may not run must leave the database as it is.
	if g.lock, err = lockData(ctx, s, logger); err != nil {
		return nil, err
	}
	if err := connect(g); err != nil {
		return nil, err
	}
	limits, memory := c.Limits.limits(), aibridge.NewMemory(options.memory)
	admission := aibridge.NewAdmission(aibridge.AdmissionLimits(c.Admission))
	if shared := g.control.shared(); shared != nil {
		admission = admission.WithShared(shared)
	}
	if budgets := g.control.asked(); budgets != nil {
		admission = admission.WithBudgets(budgets)
	}
	g.trim = startTrim(memory)
	if g.observers, err = newObservers(options.observers, limits, memory, logger); err != nil {
		return nil, err
	}
	registry, own := newRegistry()
	own.MustRegister(options.metrics...)
	own.MustRegister(memoryMetrics(memory)...)
	if g.plane != nil {
		own.MustRegister(g.plane.budgets.metrics()...)
	}
	metrics := aibridged.NewMetrics(own)
	tracer := g.tracing.tracer()
	pool, err := aibridged.NewCachedBridgePool(aibridged.DefaultPoolOptions, nil, logger.Named("bridge"), aibridge.NewMetrics(own), tracer)
	if err != nil {
		return nil, err
	}
	pool.LimitTools(c.Tools.limits())
	g.providers = &servedProviders{
		pool: pool, metrics: metrics, logger: logger.Named("providers"),
		shared: aibridge.ProviderOptions{
			Limits: limits, Memory: memory, Transport: g.observers.transport, Observe: g.observers.keep(), Digests: options.digests || options.observers.keepDir != "",
			Breaker: aibridge.BreakerOptions(c.Breaker), Admission: admission, Upstreams: g.upstreams,
		},
	}
	if g.stopLoads, err = g.control.provide(ctx, g.providers, logger.Named("providers")); err != nil {
		return nil, errors.Join(err, pool.Shutdown(ctx))
	}
	if options.keepsOnDisk() {
		options.records.Directory, options.records.Lock = s.records(), g.lock
	}
	if g.server, err = aibridged.NewServer(ctx, pool, g.control.dialer(), aibridged.ServerOptions{
		Logger: logger.Named("gateway"), Tracer: tracer, Metrics: metrics, Records: options.records,
		FindToken: aibridgedserver.FindToken, MCP: c.Tools.sessions(), ConnectWait: options.connectWait, DialPause: options.dialPause,
	}); err != nil {
		return nil, errors.Join(err, pool.Shutdown(ctx))
	}
	connections := newConnections(options.maxConnections, logger.Named("http"))
	own.MustRegister(connections.metrics()...)
	clients := at.browsers.handler(g.handler())
	if g.plane != nil && !options.noConsole {
		if clients, err = g.withConsole(clients, registry, options.observers.keepDir, logger.Named("console")); err != nil {
			return nil, err
		}
	}
	g.http = newHTTPServer(at.proxies.handler(clients), connections, logger.Named("http"))
	operators := newAdmin(at.admin, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), http.HandlerFunc(g.health), http.HandlerFunc(g.listProviders))
	g.admin = newHTTPServer(operators, newConnections(adminConnections, logger.Named("admin")), logger.Named("admin"))
	return g, nil
}

// newRegistry returns a registry with what Go and the system say of the process, and one for the program's own metrics in it.
func newRegistry() (*prometheus.Registry, prometheus.Registerer) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry, prometheus.WrapRegistererWithPrefix("aibridged_", registry)
}

// newGatewayApart makes a gateway whose control plane is elsewhere.
func newGatewayApart(ctx context.Context, s settings, c config, at controlConfig, options gatewayOptions) (*gateway, error) {
	options.connectWait, options.dialPause, options.needsNoProviders = remoteWait, remotePause, true
	return makeGateway(ctx, s, c, options, func(g *gateway) (err error) {
		r, err := newRemote(at, c, s.configFile, options.logger.Named("control"))
		if err == nil {
			g.control = r
		}
		return err
	})
}

func memoryMetrics(memory *aibridge.Memory) []prometheus.Collector {
	gauge := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	return []prometheus.Collector{
		gauge("bodies_memory_bytes", "Memory of the bodies in flight.", memory.Used),
		gauge("bodies_memory_limit_bytes", "How much memory bodies may take; a request beyond it gets 503.", memory.Limit),
	}
}

// handler serves the API. It does not use [http.ServeMux], since that redirects paths that the gateway must refuse.
func (g *gateway) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz", "/readyz":
			g.health(w, r)
		default:
			if !g.providers.known() { // The control plane is elsewhere.
				refuseForNow(w, r, "the gateway does not know its providers yet, try again")
				return
			}
			g.server.ServeHTTP(w, r)
		}
	})
}

// health says whether the process runs (/healthz), and whether it can serve (/readyz).
func (g *gateway) health(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		writeHealth(w, http.StatusOK, "ok")
		return
	}
	if g.draining.Load() { // What a check said a moment ago does not count.
		writeHealth(w, http.StatusServiceUnavailable, "not ready: "+errDraining.Error())
		return
	}
	g.ready.ServeHTTP(w, r)
}

// notReady returns why the gateway should be given no requests, in one line that is for everybody's eyes, or nil.
func (g *gateway) notReady(ctx context.Context) error {
	if g.draining.Load() {
		return errDraining
	}
	if err := g.control.notReady(ctx); err != nil {
		return err
	}
	return g.server.Ready()
}

func writeHealth(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

// serve serves until ctx ends: the API on one listener, and operators on the other, which may be nil. It then gives
// running requests time to end, and closes the gateway.
func (g *gateway) serve(ctx context.Context, api, operators net.Listener) error {
	failed, running := make(chan error, 2), 1
	go func() { failed <- servePage(g.http, g.certificate, api) }()
	if operators != nil {
		running++
		go func() { failed <- g.admin.Serve(operators) }()
	}
	var errs []error
	select {
	case err := <-failed:
		errs, running = append(errs, err), running-1
	case <-ctx.Done():
		if left := leave(&g.draining, g.drain.delay, failed, g.logger); left != nil {
			errs, running = append(errs, *left), running-1
		}
	}
	drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.drain.limit())
	defer cancel()
	errs = append(errs, g.close(drainCtx))
	for range running {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// close refuses new requests, waits for running ones and then for their records, closes the database, and lets other
// gateways use the data directory. Ctx bounds the waiting, also where a call to the disk hangs: close then fails a moment
// after ctx has ended, and the end of the process does the rest.
func (g *gateway) close(ctx context.Context) error {
	g.draining.Store(true)
	var errs []error
	if g.server != nil {
		errs = append(errs, g.server.Shutdown(ctx))
	}
	if g.http != nil {
		errs = append(errs, g.http.Shutdown(ctx))
	}
	if g.admin != nil { // Not before: operators watch the end, too. A profile that runs is not waited for.
		errs = append(errs, g.admin.Close())
	}
	released := make(chan error, 1)
	go func() { released <- g.release() }()
	select {
	case err := <-released:
		return errors.Join(append(errs, err)...)
	case <-ctx.Done():
	}
	timer := time.NewTimer(stuckGrace)
	defer timer.Stop()
	select {
	case err := <-released:
		errs = append(errs, err)
	case <-timer.C:
		errs = append(errs, errors.New("the database cannot be closed: the disk does not answer"))
	}
	return errors.Join(errs...)
}

// stuckGrace is how much longer than its context close waits for the disk.
const stuckGrace = 2 * time.Second

// release closes what writes to the disk.
func (g *gateway) release() error {
	if g.observers != nil {
		g.observers.close()
	}
	if g.trim != nil {
		g.trim.close()
	}
	if g.tracing != nil {
		g.tracing.close()
	}
	if g.certificate != nil {
		g.certificate.close()
	}
	g.ready.wait()
	if g.stopLoads != nil {
		g.stopLoads()
	}
	var errs []error
	if g.control != nil {
		errs = append(errs, g.control.close())
	}
	if g.adminFile != "" {
		errs = append(errs, os.Remove(g.adminFile)) // While nobody else can have made it.
	}
	errs = append(errs, release(g.lock))
	return errors.Join(errs...)
}
