package aibridgedserver

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/coder/aibridged/proto"
)

const (
	// rememberedKeys is how many keys are remembered: those that were used last.
	rememberedKeys = 4096
	// lookInterval is the shortest time between two looks for changes of keys.
	lookInterval = 50 * time.Millisecond
	// longestBelief is how old the last look may be when the cache answers.
	longestBelief = 100 * time.Millisecond
)

// presentedKey identifies the key in a request. It holds only a SHA-256, no secret.
type presentedKey struct {
	delegated bool // The SHA-256 is that of an id alone.
	sha256    [sha256.Size]byte
}

// knownKey is a key that is genuine and not revoked.
type knownKey struct {
	answer    *proto.IsAuthorizedResponse // Immutable.
	expiresAt int64                       // In microseconds since 1970; zero: never.
}

// keyCache remembers who keys belong to until keys or users change. Before it answers, it looks for changes, unless the
// last look was less than lookInterval ago. So it is never wrong for longer than longestBelief, however few or many
// requests come, and needs no goroutine. It is safe for concurrent use. A nil keyCache remembers nothing.
type keyCache struct {
	changes Changes
	looking sync.Mutex // Held by the goroutine that looks; the others do not wait for it. Taken before mu.

	mu     sync.Mutex
	keys   *simplelru.LRU[presentedKey, knownKey] // Guarded by mu, like the fields below.
	epoch  uint64                                 // How often the cache was emptied.
	looked time.Time                              // When the last successful look began. Zero: there was none.
	number uint64                                 // The number that it returned.
}

// newKeyCache returns a cache, or nil if changes is nil.
func newKeyCache(changes Changes) *keyCache {
	if changes == nil {
		return nil
	}
	keys, err := simplelru.NewLRU[presentedKey, knownKey](rememberedKeys, nil)
	if err != nil { // Cannot happen: only a size below one is an error.
		return nil
	}
	return &keyCache{changes: changes, keys: keys}
}

// get returns the answer for a key that is known, or nil. The caller hands the epoch to put.
func (c *keyCache) get(ctx context.Context, presented presentedKey) (answer *proto.IsAuthorizedResponse, epoch uint64) {
	if c == nil {
		return nil, 0
	}
	now := time.Now()
	current := c.isCurrent(ctx, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !current {
		return nil, c.epoch
	}
	key, known := c.keys.Get(presented)
	if !known || key.expiresAt != 0 && key.expiresAt <= now.UnixMicro() {
		return nil, c.epoch
	}
	return key.answer, c.epoch
}

// isCurrent reports whether the cache may answer: whether none of its answers has been wrong for longer than
// longestBelief. It looks for changes if the last look is older than lookInterval. If another goroutine is looking, it
// does not wait for that.
func (c *keyCache) isCurrent(ctx context.Context, now time.Time) bool {
	c.mu.Lock()
	age := now.Sub(c.looked)
	c.mu.Unlock()
	if age < lookInterval {
		return true
	}
	if !c.looking.TryLock() {
		return age < longestBelief
	}
	defer c.looking.Unlock()
	began := time.Now()
	// Others use the result of this look too, so it must not end with the request that makes it.
	number, err := c.changes.Number(context.WithoutCancel(ctx))
	if err != nil {
		return false // The caller asks the database, which reports the failure if it lasts.
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if number != c.number || c.looked.IsZero() {
		c.forget()
	}
	c.number, c.looked = number, began
	return time.Since(began) < longestBelief
}

// put remembers an answer that the database gave after a get that returned this epoch. If the cache has been emptied
// since, put does nothing, since the answer may be older than the change. A change that no look has seen yet does no
// harm: the next look sees it.
func (c *keyCache) put(presented presentedKey, key knownKey, epoch uint64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch && !c.looked.IsZero() {
		c.keys.Add(presented, key)
	}
}

// forgetAll empties the cache, so that the next request for any key asks the database.
func (c *keyCache) forgetAll() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
}

// forget empties the cache. The caller holds mu.
func (c *keyCache) forget() {
	c.keys.Purge()
	c.epoch++
}
