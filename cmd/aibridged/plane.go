package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/dbpubsub"
)

// store is the control plane's server and its open database.
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

// planeOptions are the optional settings of a control plane.
type planeOptions struct {
	keepRecords time.Duration // Zero: for ever.
	newDatabase bool          // Make a database also where an earlier gateway had one.
	// queued says that the records of a gateway in this process wait in the data directory.
	queued bool
}

// plane is a control plane in this process: its store, and what works on the database all the time. It implements
// [controlPlane].
type plane struct {
	*store

	file      string // The configuration file. Empty: there is none.
	reports   *reports.Reports
	pubsub    dbpubsub.Pubsub // Of this process: changes of providers and MCP servers.
	watch     *databaseWatch
	retention *retention
	changes   *configurationWatch
	digest    *digest
	budgets   *planeBudgets
}

// openPlane opens the database, puts what is configured into it, and starts what works on it. The caller has the lock of the
// data directory.
func openPlane(ctx context.Context, s settings, c config, options planeOptions, logger slog.Logger) (_ *plane, err error) {
	p := &plane{file: s.configFile}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if !options.newDatabase {
		if err := checkDatabase(ctx, s); err != nil {
			return nil, err
		}
	}
	if p.store, err = openStore(ctx, s, logger.Named("control")); err != nil {
		return nil, adviseNew(err)
	}
	p.watch = watchDatabase(p.db.Health, s.place(), logger.Named("control"))
	if options.queued && s.postgres == "" {
		if err := noteLostRecords(ctx, s, p.store, logger.Named("gateway")); err != nil {
			return nil, err
		}
	}
	p.retention = startRetention(p.store, options.keepRecords, logger.Named("retention"))
	overrides, err := c.overrides()
	if err != nil {
		return nil, err
	}
	var book *prices.Book
	if p.reports, book, err = newReports(p.store, overrides); err != nil {
		return nil, err
	}
	zone, err := c.Budgets.zone()
	if err != nil {
		return nil, err
	}
	if err := p.begin(ctx, c, logger); err != nil {
		return nil, fmt.Errorf("database %s: %w", s.place(), sqlite.Explain(err))
	}
	if err := reports.SavePrices(ctx, p.db, overrides); err != nil {
		return nil, fmt.Errorf("database %s: %w", s.place(), sqlite.Explain(err))
	}
	if p.budgets, err = startBudgets(ctx, p.store, p.reports, book, zone, logger.Named("budgets")); err != nil {
		return nil, fmt.Errorf("database %s: %w", s.place(), sqlite.Explain(err))
	}
	p.digest = startDigest(p.reports, logger.Named("reports"))
	return p, nil
}

// begin puts the configured providers and MCP servers into the database, and starts to look for changes.
func (p *plane) begin(ctx context.Context, c config, logger slog.Logger) error {
	if err := p.seed(ctx, c, logger); err != nil {
		return err
	}
	number, err := p.ConfigurationChanges(ctx)
	if err != nil {
		return err
	}
	p.pubsub = dbpubsub.NewInMemory()
	p.changes = watchConfiguration(p.store, p.pubsub, number, logger.Named("providers"))
	return nil
}

// seed puts the providers and MCP servers of a configuration into the database.
func (p *plane) seed(ctx context.Context, c config, logger slog.Logger) error {
	servers, err := c.mcpServers()
	if err != nil {
		return err
	}
	seeds := make([]aibridgedserver.Provider, len(c.Providers))
	for i, configured := range c.Providers {
		if seeds[i], err = configured.stored(); err != nil {
			return fmt.Errorf("provider %q: %w", configured.Name, err)
		}
	}
	if len(seeds) == 0 {
		hasConfigured, err := p.hasConfigured(ctx)
		if err != nil {
			return err
		}
		if hasConfigured {
			logger.Warn(ctx, "the configuration names no providers: those that it named before are removed")
		}
	}
	unused, err := p.SeedProviders(ctx, seeds)
	if err != nil {
		return err
	}
	unusedServers, err := p.ConfigureMCPServers(ctx, servers)
	if err != nil {
		return err
	}
	for _, name := range unused {
		logger.Warn(ctx, "the configuration's provider is not used: a command has made one of this name", slog.F("name", name))
	}
	for _, id := range unusedServers {
		logger.Warn(ctx, "the configuration's MCP server is not used: a command has made one of this id", slog.F("mcp_server", id))
	}
	warnOfTokens(ctx, servers, logger.Named("control"))
	return nil
}

// reseed implements [controlPlane]. It is seed for a configuration that was read again. It refuses one that names no providers
// where the one before did: a file may be empty because it is being written, or was cut off.
func (p *plane) reseed(ctx context.Context, c config, logger slog.Logger) error {
	if len(c.Providers) == 0 {
		hasConfigured, err := p.hasConfigured(ctx)
		if err != nil {
			return err
		}
		if hasConfigured {
			return fmt.Errorf("config %s: it names no providers, but before it did: to serve none of them, disable them, or start anew", p.file)
		}
	}
	return p.seed(ctx, c, logger)
}

// hasConfigured reports whether the database has providers of a configuration.
func (p *plane) hasConfigured(ctx context.Context) (bool, error) {
	stored, err := p.Providers(ctx)
	return slices.ContainsFunc(stored, func(p aibridgedserver.Provider) bool { return p.Configured }), err
}

// dialer implements [controlPlane].
func (p *plane) dialer() aibridged.Dialer { return controlplane.InProcess(p.store) }

// provide implements [controlPlane].
func (p *plane) provide(ctx context.Context, to *servedProviders, logger slog.Logger) (stop func(), err error) {
	to.read = p.providers
	stop, err = aibridged.SubscribeProviderReload(context.WithoutCancel(ctx), p.pubsub, to, logger)
	if err != nil {
		return nil, err
	}
	if err := to.failed(); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// shared implements [controlPlane]: the limits of the configuration are the gateway's own.
func (p *plane) shared() aibridge.SharedAdmission { return nil }

// asked implements [controlPlane].
func (p *plane) asked() aibridge.Budgets { return &ownBudgets{ledger: p.budgets.ledger} }

// notReady implements [controlPlane].
func (p *plane) notReady(ctx context.Context) error { return p.db.Health.Writable(ctx) }

// providers returns the providers that are in the database.
func (p *plane) providers(ctx context.Context) ([]givenProvider, error) {
	rows, err := p.Providers(ctx)
	if err != nil {
		return nil, err
	}
	given := make([]givenProvider, len(rows))
	for i, row := range rows {
		given[i] = givenProvider{name: row.Name, kind: row.Type, from: p.from(row), changedAt: row.ChangedAt, row: row}
		given[i].config, given[i].err = providerOf(row)
		if given[i].err == nil {
			given[i].err = given[i].config.readKept(ctx, p.store)
		}
	}
	return given, nil
}

// from says where a provider comes from.
func (p *plane) from(row aibridgedserver.Provider) string {
	switch {
	case !row.Configured:
		return "command"
	case row.Changed:
		return configuredIn(p.file) + ", changed by a command"
	}
	return configuredIn(p.file)
}

// configuredIn says where a configuration comes from.
func configuredIn(file string) string {
	if file == "" {
		return "environment"
	}
	return "configuration file " + file
}

// close ends what works on the database, and closes it.
func (p *plane) close() error {
	if p.retention != nil {
		p.retention.close()
	}
	if p.digest != nil {
		p.digest.close()
	}
	if p.budgets != nil {
		p.budgets.close()
	}
	if p.watch != nil {
		p.watch.close()
	}
	if p.changes != nil {
		p.changes.close()
	}
	var errs []error
	if p.pubsub != nil {
		errs = append(errs, p.pubsub.Close())
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	return errors.Join(errs...)
}
