package main

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/dbpubsub"
)

// gateway is a gateway and its control plane in one process, behind one HTTP handler.
type gateway struct {
	lock      *aibridged.RecordsLock // Nil where the system has no locks.
	control   *store
	watch     *databaseWatch
	retention *retention
	digest    *digest
	trim      *trim
	tracing   *tracing
	// certificate is nil if the gateway does not speak TLS.
	certificate *certificate
	ready       *readiness
	server      *aibridged.Server
	http        *http.Server
	admin       *http.Server
	observers   *observers
	providers   *servedProviders
	pubsub      dbpubsub.Pubsub
	changes     *configurationWatch
	stopLoads   func() // Ends the reloads of providers.
	adminFile   string // Says where operators look. Empty: there is none.
	// upstreams outlives the providers, also those that a reload makes.
	upstreams *aibridge.Upstreams

	draining atomic.Bool
}

// store is the control plane and its open database.
type store struct {
	*aibridgedserver.Server

	db aibridgedserver.Database
}

func openStore(ctx context.Context, s settings, logger slog.Logger) (*store, error) {
	db, err := s.open(ctx, logger)
	if err != nil {
		return nil, err
	}
	return newStore(ctx, s, db, aibridgedserver.Options{Logger: logger})
}

// newStore makes the control plane over a database, which it closes if it fails.
func newStore(ctx context.Context, s settings, db aibridgedserver.Database, options aibridgedserver.Options) (*store, error) {
	options.Secret, options.EncryptionKeys = mcpToken, s.encryptionKeys
	server, err := aibridgedserver.New(ctx, db, options)
	if err != nil {
		return nil, errors.Join(s.explainEncryption(err), db.Close())
	}
	return &store{Server: server, db: db}, nil
}

// Close waits for the records that are being stored and closes the database.
func (s *store) Close() error { return errors.Join(s.Server.Close(), s.db.Close()) }

// gatewayOptions are the optional settings of a gateway.
type gatewayOptions struct {
	observers   observerOptions
	records     aibridged.RecordOptions // Without a directory: in the data directory.
	keepRecords time.Duration           // Zero: for ever.
	newDatabase bool                    // Make a database also where an earlier gateway had one.
	memory      int64                   // In bytes; zero: see [aibridge.NewMemory].
	adminListen string                  // Where admin will listen: its host is a name of its own.
	adminHosts  []string                // Further names of admin.
	// maxConnections is the limit of connections to the API. Zero: what the descriptors of the process allow.
	maxConnections int
	digests        bool // Record digests of bodies. They are also recorded if exchanges are kept.
	noConsole      bool // Serve no page.
	logger         slog.Logger
	metrics        []prometheus.Collector // Further metrics, registered under the program's prefix.
}

// newGateway makes a gateway. It does not listen; serve does.
func newGateway(ctx context.Context, s settings, c config, options gatewayOptions) (_ *gateway, err error) {
	g, logger := &gateway{upstreams: aibridge.NewUpstreams()}, options.logger
	g.ready = &readiness{check: g.notReady}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close(ctx))
		}
	}()
	if err := c.checkProviders(); err != nil { // What cannot be is refused before anything is made.
		return nil, err
	}
	browsers, err := newBrowsers(c.CORSOrigins)
	if err != nil {
		return nil, err
	}
	names, err := adminNames(options.adminListen, options.adminHosts)
	if err != nil {
		return nil, err
	}
	if options.maxConnections == 0 {
		options.maxConnections = defaultConnections(descriptors())
	}
	if g.tracing, err = startTracing(ctx, logger.Named("tracing")); err != nil {
		return nil, err
	}
	proxies, err := newProxies(c.TrustedProxies)
	if err != nil {
		return nil, err
	}
	if c.TLS != nil {
		if g.certificate, err = watchCertificate(*c.TLS, logger.Named("tls")); err != nil {
			return nil, err
		}
	}
	// The lock comes first: a gateway that may not run must leave the database as it is.
	if g.lock, err = lockData(s); err != nil {
		return nil, err
	}
	if !options.newDatabase {
		if err := checkDatabase(ctx, s); err != nil {
			return nil, err
		}
	}
	if g.control, err = openStore(ctx, s, logger.Named("control")); err != nil {
		return nil, adviseNew(err)
	}
	g.watch = watchDatabase(g.control.db.Health, s.place(), logger.Named("control"))
	if options.records.Durability != aibridged.DurabilityMemory && options.records.Directory == "" && s.postgres == "" {
		if err := noteLostRecords(ctx, s, g.control, logger.Named("gateway")); err != nil {
			return nil, err
		}
	}
	g.retention = startRetention(g.control, options.keepRecords, logger.Named("retention"))
	overrides, err := c.overrides()
	if err != nil {
		return nil, err
	}
	of, err := newReports(g.control, overrides)
	if err != nil {
		return nil, err
	}
	limits, memory := c.Limits.limits(), aibridge.NewMemory(options.memory)
	admission := aibridge.NewAdmission(aibridge.AdmissionLimits(c.Admission))
	g.trim = startTrim(memory)
	if g.observers, err = newObservers(options.observers, limits, memory, logger); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	own := prometheus.WrapRegistererWithPrefix("aibridged_", registry)
	own.MustRegister(options.metrics...)
	own.MustRegister(memoryMetrics(memory)...)
	metrics := aibridged.NewMetrics(own)
	tracer := g.tracing.tracer()
	pool, err := aibridged.NewCachedBridgePool(aibridged.DefaultPoolOptions, nil, logger.Named("bridge"), aibridge.NewMetrics(own), tracer)
	if err != nil {
		return nil, err
	}
	pool.LimitTools(c.Tools.limits())
	g.providers = &servedProviders{
		control: g.control, pool: pool, metrics: metrics, file: s.configFile, logger: logger.Named("providers"),
		shared: aibridge.ProviderOptions{
			Limits: limits, Memory: memory, Transport: g.observers.transport, Observe: g.observers.keep(), Digests: options.digests || options.observers.keepDir != "",
			Breaker: aibridge.BreakerOptions(c.Breaker), Admission: admission, Upstreams: g.upstreams,
		},
	}
	err = g.startProviders(ctx, c, logger)
	if err == nil {
		err = reports.SavePrices(ctx, g.control.db, overrides)
	}
	if err != nil {
		err = fmt.Errorf("database %s: %w", s.place(), sqlite.Explain(err))
		return nil, errors.Join(err, pool.Shutdown(ctx))
	}
	g.digest = startDigest(of, logger.Named("reports"))
	if options.records.Durability != aibridged.DurabilityMemory && options.records.Directory == "" {
		options.records.Directory, options.records.Lock = s.records(), g.lock
	}
	if g.server, err = aibridged.NewServer(ctx, pool, controlplane.InProcess(g.control), aibridged.ServerOptions{
		Logger: logger.Named("gateway"), Tracer: tracer, Metrics: metrics, Records: options.records,
		FindToken: aibridgedserver.FindToken, MCP: c.Tools.sessions(),
	}); err != nil {
		return nil, errors.Join(err, pool.Shutdown(ctx))
	}
	connections := newConnections(options.maxConnections, logger.Named("http"))
	own.MustRegister(connections.metrics()...)
	clients := browsers.handler(g.handler())
	if !options.noConsole {
		if clients, err = g.withConsole(clients, of, registry, options.observers.keepDir, logger.Named("console")); err != nil {
			return nil, err
		}
	}
	g.http = newHTTPServer(proxies.handler(clients), connections, logger.Named("http"))
	operators := newAdmin(names, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), http.HandlerFunc(g.health), http.HandlerFunc(g.listProviders))
	g.admin = newHTTPServer(operators, newConnections(adminConnections, logger.Named("admin")), logger.Named("admin"))
	return g, nil
}

// startProviders puts the configured providers into the database, serves those that are there, and goes on to serve them as
// they change.
func (g *gateway) startProviders(ctx context.Context, c config, logger slog.Logger) error {
	if err := g.seed(ctx, c, logger); err != nil {
		return err
	}
	number, err := g.control.ConfigurationChanges(ctx)
	if err != nil {
		return err
	}
	g.pubsub = dbpubsub.NewInMemory()
	if g.stopLoads, err = aibridged.SubscribeProviderReload(context.WithoutCancel(ctx), g.pubsub, g.providers, logger.Named("providers")); err != nil {
		return err
	}
	if err := g.providers.failed(); err != nil {
		return err
	}
	g.changes = watchConfiguration(g.control, g.pubsub, number, logger.Named("providers"))
	return nil
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

func outcomeOf(provider aibridge.Provider) aibridged.ProviderOutcome {
	status := aibridged.ProviderStatusEnabled
	if provider.Disabled() {
		status = aibridged.ProviderStatusDisabled
	}
	return aibridged.ProviderOutcome{Name: provider.Name(), Type: provider.Type(), Status: status}
}

func stateOf(provider aibridge.Provider) string {
	switch {
	case provider.Disabled():
		return "disabled"
	case !provider.HasKey():
		return "no key: serves only callers who bring their own"
	}
	return "ready"
}

// handler serves the API. It does not use [http.ServeMux], since that redirects paths that the gateway must refuse.
func (g *gateway) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz", "/readyz":
			g.health(w, r)
		default:
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
	g.ready.ServeHTTP(w, r)
}

// notReady returns why the gateway should be given no requests, in one line that is for everybody's eyes, or nil.
func (g *gateway) notReady(ctx context.Context) error {
	if g.draining.Load() {
		return errors.New("it is shutting down")
	}
	if err := g.control.db.Health.Writable(ctx); err != nil {
		return err
	}
	return g.server.Ready()
}

func writeHealth(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

// drain is how long requests may still run after the gateway is told to stop.
const drain = 30 * time.Second

// serve serves until ctx ends: the API on one listener, and operators on the other, which may be nil. It then gives
// running requests time to end, at most drain, and closes the gateway.
func (g *gateway) serve(ctx context.Context, api, operators net.Listener) error {
	failed, running := make(chan error, 2), 1
	go func() { failed <- g.serveClients(api) }()
	if operators != nil {
		running++
		go func() { failed <- g.admin.Serve(operators) }()
	}
	var errs []error
	select {
	case err := <-failed:
		errs, running = append(errs, err), running-1
	case <-ctx.Done():
	}
	drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	errs = append(errs, g.close(drainCtx))
	for range running {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// serveClients serves the API on a listener, over TLS if there is a certificate.
func (g *gateway) serveClients(api net.Listener) error {
	if g.certificate == nil {
		return g.http.Serve(api)
	}
	g.http.TLSConfig = g.certificate.config()
	return g.http.ServeTLS(api, "", "")
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
	if g.retention != nil {
		g.retention.close()
	}
	if g.digest != nil {
		g.digest.close()
	}
	if g.watch != nil {
		g.watch.close()
	}
	g.ready.wait()
	var errs []error
	if g.changes != nil {
		g.changes.close()
	}
	if g.stopLoads != nil {
		g.stopLoads()
	}
	if g.pubsub != nil {
		errs = append(errs, g.pubsub.Close())
	}
	if g.control != nil {
		errs = append(errs, g.control.Close())
	}
	if g.adminFile != "" {
		errs = append(errs, os.Remove(g.adminFile)) // While nobody else can have made it.
	}
	if g.lock != nil {
		errs = append(errs, g.lock.Release())
	}
	return errors.Join(errs...)
}
