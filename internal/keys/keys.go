// Package keys chooses the key with which a request goes to a provider, and remembers what answers have shown of each
// key: whether it rests, for which models, until when and why.
//
//	pool := book.Pool("anthropic", []keys.Key{{Secret: a}, {Secret: b}}) // Once for each generation of a provider.
//	choice, err := pool.Choose(keys.Ask{Model: model, Session: session}) // A *[Resting] error: no key is ready.
//	verdict := pool.Judge(choice, keys.Answer{Status: status, Header: header, Body: body})
//	if verdict.Refused {                                                 // The key was refused, not the request:
//		choice, err = pool.Choose(ask)                                   // another key may be asked.
//	}
//
// It sends nothing, and starts no goroutine: a key is ready again once its time is over.
package keys

import (
	"crypto/sha256"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/coder/aibridged/internal/credential"
)

// Key is one key of a provider.
type Key struct {
	// Secret is the key itself.
	Secret string
	// Account names whose key it is. What a provider stores for one account, or encrypts for it, is of no use with a key
	// of another one. A key without a name is of an account of its own.
	Account string
}

// State is what is known of a key at a time.
type State string

// The states of a key.
const (
	Ready        State = "ready"
	Limited      State = "limited"      // It has reached a limit: 429.
	Unauthorized State = "unauthorized" // It was refused: 401.
	Dead         State = "dead"         // It has no credit left or is disabled, by what the provider says.
)

// States returns all states.
func States() []State { return []State{Ready, Limited, Unauthorized, Dead} }

// Status describes one key for people.
type Status struct {
	Provider string
	Hint     string // Of the key: see [credential.Hint].
	Account  string
	State    State
	Since    time.Time // When it began to rest. Zero: it is ready.
	Until    time.Time // When it will be asked again. Zero: it is ready.
	Models   []string  // The models for which it rests.
	Unnamed  bool      // It rests for requests that name no model. With neither, it rests for all, unless it is ready.
}

// Book remembers the keys of all providers, by the provider's name and the key: a pool that is made anew, for example
// after a reload, goes on with what is known. It is safe for concurrent use.
type Book struct {
	mu    sync.Mutex
	known map[string]*known // Guarded by mu.
}

// mostHomes is how many sessions and stored responses of a provider are remembered; those that were not used for the
// longest time are forgotten first.
const mostHomes = 50_000

// known is what is known of one provider's keys.
type known struct {
	seed maphash.Seed

	mu        sync.Mutex
	states    map[keyID]*state              // Guarded by mu, like the fields below; what they point to, too.
	homes     *simplelru.LRU[uint64, keyID] // The key that sessions, and stored responses, were served with.
	current   []entry                       // The keys of the pool that was made last.
	failovers uint64
}

// keyID identifies a key: its SHA-256.
type keyID [sha256.Size]byte

// entry is a key of a pool.
type entry struct {
	Key

	id    keyID
	state *state
}

// Pool returns the pool of a provider's keys, in the order in which they are preferred while all are alike. A key that
// the provider's pool before it had keeps its state; others are ready. What is known of keys that are gone is forgotten.
// The same key twice is one key.
func (b *Book) Pool(provider string, keys []Key) *Pool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil {
		b.known = map[string]*known{}
	}
	of := b.known[provider]
	if of == nil {
		homes, err := simplelru.NewLRU[uint64, keyID](mostHomes, nil)
		if err != nil {
			panic(err) // The size is above zero.
		}
		of = &known{seed: maphash.MakeSeed(), homes: homes}
		b.known[provider] = of
	}
	return of.pool(keys)
}

// Keep forgets the providers of all other names. Pools that are still in use go on.
func (b *Book) Keep(providers []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.known, func(name string, _ *known) bool { return !slices.Contains(providers, name) })
}

func (k *known) pool(keys []Key) *Pool {
	k.mu.Lock()
	defer k.mu.Unlock()
	states := make(map[keyID]*state, len(keys))
	entries := make([]entry, 0, len(keys))
	for _, key := range keys {
		id := keyID(sha256.Sum256([]byte(key.Secret)))
		if states[id] != nil {
			continue
		}
		states[id] = k.states[id]
		if states[id] == nil {
			states[id] = &state{}
		}
		entries = append(entries, entry{key, id, states[id]})
	}
	k.states, k.current = states, entries
	return &Pool{known: k, entries: entries}
}

// Keys returns the status of each key of each provider, in no particular order of the providers.
func (b *Book) Keys() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Status
	for provider, of := range b.known {
		all = of.statuses(all, provider)
	}
	return all
}

func (k *known) statuses(all []Status, provider string) []Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for _, e := range k.current {
		status := e.state.status(now)
		status.Provider, status.Hint, status.Account = provider, credential.Hint(e.Secret), e.Account
		all = append(all, status)
	}
	return all
}
