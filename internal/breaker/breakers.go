package breaker

import (
	"maps"
	"sync"
)

// Place is what a breaker stands before.
type Place struct {
	Provider string
	Route    string
	Address  string // Of the provider.
}

// Breakers remembers the breakers of all providers, so that one that is made anew, for example after a reload, goes on
// with what is known. It is safe for concurrent use.
type Breakers struct {
	mu    sync.Mutex
	known map[Place]knownBreaker // Guarded by mu.
}

type knownBreaker struct {
	options Options
	breaker *Breaker
}

// Of returns the breaker of a place: the one that the place had before if its options are the same, or else a new one. If
// the provider has another address now, what is known of the former one is forgotten.
func (b *Breakers) Of(place Place, options Options) *Breaker {
	if options.Off {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.known[place]; ok && known.options == options {
		return known.breaker
	}
	if b.known == nil {
		b.known = map[Place]knownBreaker{}
	}
	for former := range b.known {
		if former.Provider == place.Provider && former.Address != place.Address {
			delete(b.known, former)
		}
	}
	made := newBreaker(options)
	b.known[place] = knownBreaker{options, made}
	return made
}

// Keep forgets the breakers of providers of all other names. Those that are still in use go on.
func (b *Breakers) Keep(providers []string) {
	kept := make(map[string]bool, len(providers))
	for _, name := range providers {
		kept[name] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.known, func(place Place, _ knownBreaker) bool { return !kept[place.Provider] })
}
