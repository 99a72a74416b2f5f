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
	// rememberedKeys bounds the keys that are remembered; those used last stay.
	rememberedKeys = 4096
	// lookInterval is how long nobody looks for changes of keys after somebody has.
	lookInterval = 50 * time.Millisecond
	// longestBelief is how old a look may be that an answer goes by.
	longestBelief = 100 * time.Millisecond
)

// presentedKey stands for what a request presents. It holds no secret, only the SHA-256 of one.
type presentedKey struct {
	delegated bool // It is the SHA-256 of an id alone.
	sha256    [sha256.Size]byte
}

// knownKey is a key that is genuine and not revoked.
type knownKey struct {
	answer    *proto.IsAuthorizedResponse // Immutable.
	expiresAt int64                       // In microseconds since 1970; zero: never.
}

// keyCache remembers who keys belong to, for as long as nothing has changed: before it answers, it looks for changes,
// unless that was done a moment ago. So it is never wrong for longer than longestBelief, in silence or under load, and
// needs no goroutine. It is safe for concurrent use. A nil keyCache remembers nothing.
type keyCache struct {
	changes Changes
	looking sync.Mutex // Held by the one who looks, for whom nobody waits. Taken before mu.

	mu     sync.Mutex
	keys   *simplelru.LRU[presentedKey, knownKey] // Guarded by mu, as all that follows.
	epoch  uint64                                 // How often all was forgotten.
	looked time.Time                              // When the last look that succeeded began. Zero: there was none.
	number uint64                                 // What it saw.
}

// newKeyCache returns a cache, or nil if changes are.
func newKeyCache(changes Changes) *keyCache {
	if changes == nil {
		return nil
	}
	keys, err := simplelru.NewLRU[presentedKey, knownKey](rememberedKeys, nil)
	if err != nil { // Only a size below one is an error.
		return nil
	}
	return &keyCache{changes: changes, keys: keys}
}

// get returns the answer to a key that is known, or nil. The epoch is for put.
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

// isCurrent reports whether the cache has no answer that was wrong already longestBelief before now. It looks for changes
// if it is time to. Where somebody else is at that, it does not wait.
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
	// A look that ends with the request that happens to make it would be of no use to the others.
	number, err := c.changes.Number(context.WithoutCancel(ctx))
	if err != nil {
		return false // The database is asked, and has more to say.
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if number != c.number || c.looked.IsZero() {
		c.forget()
	}
	c.number, c.looked = number, began
	return time.Since(began) < longestBelief
}

// put remembers an answer that the database gave after a get that returned this epoch. Where all has been forgotten since,
// the answer may be older than the reason for that, and is not remembered. A change that nobody has seen yet does no
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

// forgetAll makes the next request for any key ask the database.
func (c *keyCache) forgetAll() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
}

// forget is forgetAll for one who has mu.
func (c *keyCache) forget() {
	c.keys.Purge()
	c.epoch++
}
