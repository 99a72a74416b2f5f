package aibridge

import (
	"slices"
	"strings"
	"time"

	"github.com/coder/aibridged/internal/breaker"
	"github.com/coder/aibridged/internal/keys"
)

// Upstreams remembers what answers have shown of upstreams: which keys rest and which breakers are open. Providers that
// share one, at the same time or one after the other, go on with what is known, by the provider's name and the key. Two
// providers of one name must not share it at the same time. It is safe for concurrent use.
type Upstreams struct {
	keys     keys.Book
	breakers breaker.Breakers
}

// NewUpstreams returns an Upstreams that knows nothing yet.
func NewUpstreams() *Upstreams { return &Upstreams{} }

// KeyStatus describes one key of a provider.
type KeyStatus struct {
	Provider string
	Hint     string // The first and last characters of the key.
	Account  string
	// State is "ready", "limited" (it has reached a limit), "unauthorized" (it was refused) or "dead" (it has no credit left
	// or is disabled, by what the upstream says).
	State string
	// Since and Until say when it began to rest, and when it will be asked again. They are zero if it is ready.
	Since, Until time.Time
	// Models are those for which it rests, by the names that clients have given, and Unnamed says that it rests for requests
	// that name none, such as a list of models. With neither, it rests for all, unless it is ready.
	Models  []string
	Unnamed bool
}

// Keys returns the status of all keys, by the names of their providers and then in their order.
func (u *Upstreams) Keys() []KeyStatus {
	known := u.keys.Keys()
	slices.SortStableFunc(known, func(a, b keys.Status) int { return strings.Compare(a.Provider, b.Provider) })
	all := make([]KeyStatus, len(known))
	for i, of := range known {
		all[i] = KeyStatus{
			Provider: of.Provider, Hint: of.Hint, Account: of.Account, State: string(of.State), Since: of.Since, Until: of.Until, Models: of.Models, Unnamed: of.Unnamed,
		}
	}
	return all
}

// Keep forgets what is known of providers of all names but these. Requests that such a provider still serves go on.
func (u *Upstreams) Keep(providers []string) {
	u.keys.Keep(providers)
	u.breakers.Keep(providers)
}

// Share returns the providers; those that were given no Upstreams share u.
func (u *Upstreams) Share(providers []Provider) []Provider {
	sharing := slices.Clone(providers)
	for i := range sharing {
		if sharing[i].pool == nil {
			sharing[i].join(u)
		}
	}
	return sharing
}

// join makes a provider, which nothing uses yet, go on with what is known of it.
func (p *Provider) join(u *Upstreams) {
	own := make([]keys.Key, len(p.keys))
	for i, key := range p.keys {
		own[i] = keys.Key(key)
	}
	p.pool = u.keys.Pool(p.name, own)
	p.breakers = map[string]*breaker.Breaker{}
	for _, route := range p.routes {
		if route.format != nil {
			place := breaker.Place{Provider: p.name, Route: route.path, Address: p.base.String()}
			p.breakers[route.path] = u.breakers.Of(place, breaker.Options(p.breaker))
		}
	}
}
