package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/dbpubsub"
)

// servedProviders makes a gateway serve the providers that are in the database. It implements
// [aibridged.ProviderReloader].
type servedProviders struct {
	control *store
	pool    aibridged.Pooler
	shared  aibridge.ProviderOptions // What all providers have in common. Its Upstreams outlives them.
	metrics *aibridged.Metrics
	file    string // The configuration file. Empty: there is none.
	logger  slog.Logger

	mu     sync.Mutex
	states []providerState // Of the latest reload, by name. Guarded by mu, as err is.
	err    error           // Of the latest reload.
}

// providerState says where a provider comes from, and whether it can serve.
type providerState struct {
	name, kind string
	from       string
	state      string // For people.
	status     aibridged.ProviderStatus
	changedAt  time.Time
}

// Reload implements [aibridged.ProviderReloader].
func (s *servedProviders) Reload(ctx context.Context) error {
	s.metrics.RecordReloadAttempt()
	states, outcomes, err := s.replace(ctx)
	s.mu.Lock()
	before := s.states
	s.err = err
	if err == nil {
		s.states = states
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.metrics.RecordReloadSuccess(outcomes)
	s.tell(ctx, before, states)
	return nil
}

// replace makes the providers anew and serves them. One that cannot be made harms no other.
func (s *servedProviders) replace(ctx context.Context) ([]providerState, []aibridged.ProviderOutcome, error) {
	rows, err := s.control.Providers(ctx)
	if err != nil {
		return nil, nil, err
	}
	var (
		providers []aibridge.Provider
		states    []providerState
		outcomes  []aibridged.ProviderOutcome
		names     []string
	)
	for _, row := range rows {
		state := providerState{name: row.Name, kind: row.Type, from: s.from(row), changedAt: row.ChangedAt}
		provider, err := s.make(ctx, row)
		outcome := aibridged.ProviderOutcome{Name: row.Name, Type: row.Type, Status: aibridged.ProviderStatusError, Err: err}
		if err == nil {
			outcome, state.state = outcomeOf(provider), stateOf(provider)
		} else {
			state.state = "error: " + err.Error()
			provider, err = unserved(row.Name)
		}
		if err == nil { // Otherwise not even the name is a provider's.
			providers = append(providers, provider)
		}
		state.status = outcome.Status
		states, outcomes, names = append(states, state), append(outcomes, outcome), append(names, row.Name)
	}
	if len(providers) == 0 { // A pool takes no empty set in the place of others.
		for _, state := range s.current() {
			if provider, err := unserved(state.name); err == nil {
				providers = append(providers, provider)
			}
		}
	}
	s.pool.ReplaceProviders(providers)
	s.shared.Upstreams.Keep(names)
	return states, outcomes, nil
}

// make makes a provider.
func (s *servedProviders) make(ctx context.Context, row aibridgedserver.Provider) (aibridge.Provider, error) {
	p, err := providerOf(row)
	if err != nil {
		return aibridge.Provider{}, err
	}
	if err := p.readKept(ctx, s.control); err != nil {
		return aibridge.Provider{}, err
	}
	shared := s.shared
	if p.Disabled {
		shared.Upstreams = nil // It has no keys now, and what is known of those that it had counts when it is enabled again.
	}
	return p.provider(shared)
}

// unserved returns a provider that answers 503, for a name that is to stay known. What is known of its keys stays.
func unserved(name string) (aibridge.Provider, error) {
	return aibridge.NewOpenAIProvider(name, aibridge.ProviderOptions{Disabled: true})
}

// from says where a provider comes from.
func (s *servedProviders) from(row aibridgedserver.Provider) string {
	switch {
	case !row.Configured:
		return "command"
	case row.Changed:
		return s.configured() + ", changed by a command"
	}
	return s.configured()
}

// configured says where the configuration comes from.
func (s *servedProviders) configured() string {
	if s.file == "" {
		return "environment"
	}
	return "configuration file " + s.file
}

// tell writes a line for each provider that is new or has changed, and for each that is gone.
func (s *servedProviders) tell(ctx context.Context, before, now []providerState) {
	for _, state := range now {
		if slices.Contains(before, state) {
			continue
		}
		fields := []slog.Field{slog.F("name", state.name), slog.F("type", state.kind), slog.F("from", state.from), slog.F("state", state.state)}
		if state.status == aibridged.ProviderStatusError {
			s.logger.Error(ctx, "a provider cannot be served", fields...)
			continue
		}
		s.logger.Info(ctx, "provider", fields...)
	}
	for _, state := range before {
		if !slices.ContainsFunc(now, func(one providerState) bool { return one.name == state.name }) {
			s.logger.Info(ctx, "provider is removed", slog.F("name", state.name))
		}
	}
}

// current returns the states of the latest reload.
func (s *servedProviders) current() []providerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.states
}

// failed returns the error of the latest reload.
func (s *servedProviders) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// lookEvery is the time between two looks for changes that other processes have made.
const lookEvery = 100 * time.Millisecond

// configurationWatch publishes [dbpubsub.ProvidersChanged] when any process has changed the providers or MCP servers in the
// database.
type configurationWatch struct {
	control *store
	publish dbpubsub.Pubsub
	logger  slog.Logger

	cancel context.CancelFunc
	done   chan struct{}
}

// watchConfiguration starts to look for changes after number. The caller closes the watch.
func watchConfiguration(control *store, publish dbpubsub.Pubsub, number int64, logger slog.Logger) *configurationWatch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &configurationWatch{control: control, publish: publish, logger: logger, cancel: cancel, done: make(chan struct{})}
	go w.run(ctx, number)
	return w
}

func (w *configurationWatch) run(ctx context.Context, seen int64) {
	defer close(w.done)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for failing := false; ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		number, err := w.control.ConfigurationChanges(ctx)
		if err == nil && number != seen {
			if err = w.publish.Publish(dbpubsub.ProvidersChanged, nil); err == nil {
				seen = number
			}
		}
		if err != nil && !failing && ctx.Err() == nil {
			w.logger.Warn(ctx, "changes of providers cannot be seen, it is tried again", slog.Error(err))
		}
		failing = err != nil
	}
}

func (w *configurationWatch) close() {
	w.cancel()
	<-w.done
}

// seed puts the providers and MCP servers of a configuration into the database.
func (g *gateway) seed(ctx context.Context, c config, logger slog.Logger) error {
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
	unused, err := g.control.SeedProviders(ctx, seeds)
	if err != nil {
		return err
	}
	unusedServers, err := g.control.ConfigureMCPServers(ctx, servers)
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
