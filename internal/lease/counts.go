package lease

import "sync/atomic"

// Counts are the counts of a pool since it was made. It is safe for concurrent use.
type Counts struct {
	hits, misses, added, evicted atomic.Uint64
}

// Hits counts the calls of Get and Acquire that found a value, or one being built.
func (c *Counts) Hits() uint64 { return c.hits.Load() }

// Misses counts the Acquires that began a build.
func (c *Counts) Misses() uint64 { return c.misses.Load() }

// KeysAdded counts the values that entered the pool, including those whose build then failed.
func (c *Counts) KeysAdded() uint64 { return c.added.Load() }

// KeysEvicted counts the values that left the pool, for any reason.
func (c *Counts) KeysEvicted() uint64 { return c.evicted.Load() }
