package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
)

// givenProvider is a provider as a control plane gives it.
type givenProvider struct {
	name, kind string
	from       string // For people.
	changedAt  time.Time
	config     providerConfig
	err        error // Why there is no config that can be used.
}

// servedProviders makes a gateway serve the providers that its control plane gives. It implements
// [aibridged.ProviderReloader].
type servedProviders struct {
	read    func(context.Context) ([]givenProvider, error) // Returns them as they are now.
	pool    aibridged.Pooler
	shared  aibridge.ProviderOptions // What all providers have in common. Its Upstreams outlives them.
	metrics *aibridged.Metrics
	logger  slog.Logger

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

// replace makes the providers anew and serves them. One that cannot be made harms no other.
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
	for _, given := range all {
		state := providerState{name: given.name, kind: given.kind, from: given.from, changedAt: given.changedAt}
		provider, err := s.make(given)
		outcome := aibridged.ProviderOutcome{Name: given.name, Type: given.kind, Status: aibridged.ProviderStatusError, Err: err}
		if err == nil {
			outcome, state.state = outcomeOf(provider), stateOf(provider)
		} else {
			state.state = "error: " + err.Error()
			provider, err = unserved(given.name)
		}
		if err == nil { // Otherwise not even the name is a provider's.
			providers = append(providers, provider)
		}
		state.status = outcome.Status
		states, outcomes, names = append(states, state), append(outcomes, outcome), append(names, given.name)
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

// unserved returns a provider that answers 503, for a name that is to stay known. What is known of its keys stays.
func unserved(name string) (aibridge.Provider, error) {
	return aibridge.NewOpenAIProvider(name, aibridge.ProviderOptions{Disabled: true})
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
