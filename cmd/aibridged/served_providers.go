package main

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
)

// givenProvider is a provider as a control plane gives it.
type givenProvider struct {
	name, kind string
	from       string // For people.
	changedAt  time.Time
	row        aibridgedserver.Provider // What is stored of it.
	config     providerConfig
	err        error // Why there is no config that can be used.
}

// servedProviders makes a gateway serve the providers that its control plane gives. It implements
// [aibridged.ProviderReloader].
type servedProviders struct {
	read    func(context.Context) ([]givenProvider, error) // Returns them as they are now.
	pool    *aibridged.CachedBridgePool
	shared  aibridge.ProviderOptions // What all providers have in common. Its Upstreams outlives them.
	metrics *aibridged.Metrics
	logger  slog.Logger

	built map[string]builtProvider // By name. Only Reload uses it, whose calls never overlap.

	mu     sync.Mutex
	states []providerState // Of the latest reload, by name. Guarded by mu, like the fields below.
	loaded bool            // A reload has succeeded.
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
		s.states, s.loaded = states, true
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
	all, err := s.read(ctx)
	if err != nil {
		return nil, nil, err
	}
	var (
		providers []aibridge.Provider
		states    []providerState
		outcomes  []aibridged.ProviderOutcome
		names     []string
	)
	built := make(map[string]builtProvider, len(all))
	for _, given := range all {
		state := providerState{name: given.name, kind: given.kind, from: given.from, changedAt: given.changedAt}
		provider, err := s.make(given)
		outcome := aibridged.ProviderOutcome{Name: given.name, Type: given.kind, Status: aibridged.ProviderStatusError, Err: err}
		before, isKnown := s.built[given.name]
		switch {
		case err == nil:
			outcome, state.state = outcomeOf(provider), stateOf(provider)
			built[given.name] = builtProvider{given.row, provider}
		case isKnown && before.isFrom(given.row):
			state.state, state.asBefore = "error: "+err.Error()+" (it is served as it was before)", true
			provider, err = before.provider, nil
			built[given.name] = before
		default:
			state.state = "error: " + err.Error()
			provider, err = unserved(given.name, given.kind)
		}
		if err == nil { // Otherwise not even the name is a provider's.
			providers = append(providers, provider)
		}
		state.status = outcome.Status
		states, outcomes, names = append(states, state), append(outcomes, outcome), append(names, given.name)
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
func (s *servedProviders) make(given givenProvider) (aibridge.Provider, error) {
	if given.err != nil {
		return aibridge.Provider{}, given.err
	}
	shared := s.shared
	if given.config.Disabled {
		shared.Upstreams = nil // It has no keys now, and what is known of those that it had counts when it is enabled again.
	}
	return given.config.provider(shared)
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

// known reports whether a reload has succeeded.
func (s *servedProviders) known() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded
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
