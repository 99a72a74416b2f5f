package main

import (
	"bytes"
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
	pool    *aibridged.CachedBridgePool
	shared  aibridge.ProviderOptions // What all providers have in common. Its Upstreams outlives them.
	metrics *aibridged.Metrics
	file    string // The configuration file. Empty: there is none.
	logger  slog.Logger

	built map[string]builtProvider // By name. Only Reload uses it, whose calls never overlap.

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
	asBefore   bool // It could not be made anew, and is served as it was made before.
	changedAt  time.Time
}

// builtProvider is a provider and the row that it was made from.
type builtProvider struct {
	row      aibridgedserver.Provider
	provider aibridge.Provider
}

// isFrom reports whether the provider was made from a row that says what this one says.
func (b builtProvider) isFrom(row aibridgedserver.Provider) bool {
	return b.row.Name == row.Name && b.row.Type == row.Type && b.row.BaseURL == row.BaseURL && b.row.Disabled == row.Disabled && bytes.Equal(b.row.Settings, row.Settings)
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

// replace makes the providers anew and serves them. One that cannot be made harms no other. If its row is the one that the
// provider was made from before, what has changed is elsewhere, such as a file with a key that is away for a moment: it is served
// as it was made then.
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
	built := make(map[string]builtProvider, len(rows))
	for _, row := range rows {
		state := providerState{name: row.Name, kind: row.Type, from: s.from(row), changedAt: row.ChangedAt}
		provider, err := s.make(ctx, row)
		outcome := aibridged.ProviderOutcome{Name: row.Name, Type: row.Type, Status: aibridged.ProviderStatusError, Err: err}
		before, isKnown := s.built[row.Name]
		switch {
		case err == nil:
			outcome, state.state = outcomeOf(provider), stateOf(provider)
			built[row.Name] = builtProvider{row, provider}
		case isKnown && before.isFrom(row):
			state.state, state.asBefore = "error: "+err.Error()+" (it is served as it was before)", true
			provider, err = before.provider, nil
			built[row.Name] = before
		default:
			state.state = "error: " + err.Error()
			provider, err = unserved(row.Name, row.Type)
		}
		if err == nil { // Otherwise not even the name is a provider's.
			providers = append(providers, provider)
		}
		state.status = outcome.Status
		states, outcomes, names = append(states, state), append(outcomes, outcome), append(names, row.Name)
	}
	if len(providers) == 0 { // A command has removed the last one: no configuration can, see [hangUps].
		s.pool.RemoveProviders()
	} else {
		s.pool.ReplaceProviders(providers)
	}
	s.built = built
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

// unserved returns a provider that answers 503 in the shape of its type's API, for a name that is to stay known. What is known of
// its keys stays.
func unserved(name, kind string) (aibridge.Provider, error) {
	options := aibridge.ProviderOptions{Disabled: true}
	switch kind {
	case "anthropic", "vertex":
		return aibridge.NewAnthropicProvider(name, options)
	case "bedrock":
		options.BaseURL = "https://unserved.invalid" // It is never asked.
		return aibridge.NewBedrockProvider(name, options)
	case "copilot":
		return aibridge.NewCopilotProvider(name, options)
	}
	return aibridge.NewOpenAIProvider(name, options)
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
		switch {
		case state.asBefore:
			s.logger.Error(ctx, "a provider cannot be made anew, and is served as it was before", fields...)
			continue
		case state.status == aibridged.ProviderStatusError:
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

// hasConfigured reports whether the database has providers of a configuration.
func (g *gateway) hasConfigured(ctx context.Context) (bool, error) {
	stored, err := g.control.Providers(ctx)
	return slices.ContainsFunc(stored, func(p aibridgedserver.Provider) bool { return p.Configured }), err
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
	if len(seeds) == 0 {
		hasConfigured, err := g.hasConfigured(ctx)
		if err != nil {
			return err
		}
		if hasConfigured {
			logger.Warn(ctx, "the configuration names no providers: those that it named before are removed")
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
