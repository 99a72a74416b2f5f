package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"cdr.dev/slog/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/console"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/controlplane/join"
)

// control is a control plane that serves gateways elsewhere.
type control struct {
	*plane

	lock    *aibridged.RecordsLock // Nil where the system has no locks.
	feed    *providerFeed
	limits  *limitsService
	gate    *join.Gate
	shown   *certificate // What gateways are shown, if it comes from files.
	revoked *joinWatch
	ready   *readiness
	admin   *http.Server
	page    *http.Server // Nil: there is none.
	// certificate is what browsers are shown. Nil: the page does not speak TLS.
	certificate *certificate
	drain       drainOptions
	logger      slog.Logger

	draining atomic.Bool
}

// newControl makes a control plane. It does not listen; serve does.
func newControl(ctx context.Context, s settings, c config, options controlOptions) (_ *control, err error) {
	p, logger := &control{drain: options.drain, logger: options.logger}, options.logger
	p.ready = &readiness{check: p.notReady}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := c.checkProviders(); err != nil { // What cannot be is refused before anything is made.
		return nil, err
	}
	names, err := adminNames(options.adminListen, options.adminHosts)
	if err != nil {
		return nil, err
	}
	proxies, err := newProxies(c.TrustedProxies)
	if err != nil {
		return nil, err
	}
	if c.TLS != nil {
		if p.certificate, err = watchCertificate(*c.TLS, logger.Named("tls")); err != nil {
			return nil, err
		}
	}
	if p.lock, err = lockData(ctx, s, logger); err != nil {
		return nil, err
	}
	if p.plane, err = openPlane(ctx, s, c, options.planeOptions, logger); err != nil {
		return nil, err
	}
	if p.feed, err = newProviderFeed(p.plane); err != nil {
		return nil, err
	}
	p.limits = newLimitsService(c.Admission, logger.Named("admission"))
	if err := p.makeGate(s, c.Control); err != nil {
		return nil, err
	}
	registry, own := newRegistry()
	own.MustRegister(options.metrics...)
	own.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gateways_connected", Help: "How many gateways are connected."},
		func() float64 { return float64(p.gate.Gateways()) }))
	own.MustRegister(p.budgets.metrics()...)
	health := http.HandlerFunc(p.health)
	p.admin = newHTTPServer(newAdmin(names, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), health, http.NotFoundHandler()),
		newConnections(adminConnections, logger.Named("admin")), logger.Named("admin"))
	if options.consoleListen != adminOff {
		handler, err := p.withConsole(health, console.Options{Path: consolePath, Health: p.consoleHealth, Logger: logger.Named("console")})
		if err != nil {
			return nil, err
		}
		p.page = newHTTPServer(proxies.handler(handler), newConnections(pageConnections, logger.Named("http")), logger.Named("http"))
	}
	return p, nil
}

// pageConnections is how many connections people may have to the page.
const pageConnections = 1024

// makeGate makes what lets gateways in.
func (p *control) makeGate(s settings, c controlConfig) error {
	config, err := p.gateTLS(s, c)
	if err != nil {
		return err
	}
	p.gate = &join.Gate{TLS: config, Check: p.checkJoinToken, Logger: p.logger.Named("gateways")}
	p.revoked = watchJoinTokens(p.store, p.gate, p.logger.Named("gateways"))
	return nil
}

// gateTLS returns how gateways are spoken to.
func (p *control) gateTLS(s settings, c controlConfig) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{join.Protocol}}
	if c.TLS != nil {
		var err error
		if p.shown, err = watchCertificate(*c.TLS, p.logger.Named("tls")); err != nil {
			return nil, err
		}
		config.GetCertificate = p.shown.config().GetCertificate
	} else {
		own, err := openAuthority(s)
		if err != nil {
			return nil, err
		}
		config.GetCertificate = own.get
	}
	if c.CA == "" {
		return config, nil
	}
	known, err := readFrom(c.CA)
	if err != nil {
		return nil, fmt.Errorf("the gateways' authority: %w", err)
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	logger := p.logger.Named("tls")
	return &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		now := config.Clone() // The file may have changed.
		var err error
		if now.ClientCAs, err = known.now(); err != nil {
			logger.Error(hello.Context(), "the gateways' authority cannot be read: the one that was read last counts", slog.Error(err))
		}
		return now, nil
	}}, nil
}

// checkJoinToken implements [join.Gate.Check].
func (p *control) checkJoinToken(ctx context.Context, id, secret string) error {
	err := p.CheckJoinToken(ctx, id, secret)
	if errors.Is(err, aibridgedserver.ErrInvalidJoinToken) {
		return join.ErrInvalid
	}
	return err
}

// rpcs are the calls that gateways make.
type rpcs struct {
	*aibridgedserver.Server
	*providerFeed
	*limitsService
	*budgetsService
}

// serve serves until ctx ends, and closes the control plane.
func (p *control) serve(ctx context.Context, at controlListeners) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed, running := make(chan error, 3), 1
	go func() {
		failed <- controlplane.Serve(serving, at.gateways, rpcs{p.Server, p.feed, p.limits, &budgetsService{p.budgets.ledger}}, controlplane.ServeOptions{
			Logger: p.logger.Named("gateways"), Admit: p.gate.Admit,
		})
	}()
	if at.operators != nil {
		running++
		go func() { failed <- p.admin.Serve(at.operators) }()
	}
	if at.people != nil {
		running++
		go func() { failed <- servePage(p.page, p.certificate, at.people) }()
	}
	var errs []error
	select {
	case err := <-failed:
		errs, running = append(errs, err), running-1
	case <-ctx.Done():
		if left := leave(&p.draining, p.drain.delay, failed, p.logger); left != nil {
			errs, running = append(errs, *left), running-1
		}
	}
	p.draining.Store(true)
	stop() // Gateways keep what is not acknowledged, and send it again.
	drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.drain.limit())
	defer cancel()
	if p.page != nil {
		errs = append(errs, p.page.Shutdown(drainCtx))
	}
	errs = append(errs, p.admin.Close())
	for range running {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, p.close())...)
}

// servePage serves on a listener, over TLS if there is a certificate.
func servePage(server *http.Server, shown *certificate, listener net.Listener) error {
	if shown == nil {
		return server.Serve(listener)
	}
	server.TLSConfig = shown.config()
	return server.ServeTLS(listener, "", "")
}

// health serves /healthz and /readyz.
func (p *control) health(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/healthz":
		writeHealth(w, http.StatusOK, "ok")
	case r.URL.Path != "/readyz":
		http.NotFound(w, r)
	case p.draining.Load():
		writeHealth(w, http.StatusServiceUnavailable, "not ready: "+errDraining.Error())
	default:
		p.ready.ServeHTTP(w, r)
	}
}

// notReady returns why gateways are not served well, in one line that is for everybody's eyes, or nil.
func (p *control) notReady(ctx context.Context) error {
	if p.draining.Load() {
		return errDraining
	}
	return p.plane.notReady(ctx)
}

// consoleHealth returns how the control plane does, for the page.
func (p *control) consoleHealth(ctx context.Context) console.Health {
	h := console.Health{Providers: []console.ProviderHealth{}, Keys: []console.KeyHealth{}}
	if err := p.notReady(ctx); err != nil {
		h.NotReady = err.Error()
	}
	given, _ := p.providers(ctx) // If it fails, the database does, which is said above.
	for _, one := range given {
		state := "enabled"
		switch {
		case one.err != nil:
			state = "error: the log says why"
		case one.config.Disabled:
			state = "disabled"
		}
		h.Providers = append(h.Providers, console.ProviderHealth{Name: one.name, Type: one.kind, State: state})
	}
	h.Figures = append([]console.Figure{{Name: "Gateways that are connected", Value: fmt.Sprint(p.gate.Gateways())}}, versions()...)
	return h
}

// close closes the database, and lets others use the data directory.
func (p *control) close() error {
	for _, shown := range []*certificate{p.shown, p.certificate} {
		if shown != nil {
			shown.close()
		}
	}
	if p.revoked != nil {
		p.revoked.close()
	}
	p.ready.wait()
	if p.feed != nil {
		p.feed.close()
	}
	var errs []error
	if p.plane != nil {
		errs = append(errs, p.plane.close())
	}
	errs = append(errs, release(p.lock))
	return errors.Join(errs...)
}
