package aibridge

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/wire"
)

const (
	// mostConversations is how many conversations are remembered. A conversation that was forgotten has the tools that
	// there are when it goes on.
	mostConversations = 10_000
	// mostSets is how many lists of tools are remembered, beside those that conversations began with.
	mostSets = 4096
	// mostTurns and mostTurnBytes bound the turns that this process remembers, and largestTurn one of them. A [TurnStore]
	// takes none above largestStored, once it is packed.
	mostTurns     = 50_000
	mostTurnBytes = 64 << 20
	largestTurn   = 16 << 20
	largestStored = 3 << 20
	// turnLifetime is how long a turn is kept by a [TurnStore].
	turnLifetime = 30 * 24 * time.Hour
	// longestTurnKey is the longest id, with its format, under which a turn is kept.
	longestTurnKey = 512
	// mostTurnKeys is how many turns of one conversation are put back.
	mostTurnKeys = 1000
	// overTurn takes the place of a turn in a [TurnStore] that is over: it is a turn of nothing.
	overTurn = "{}"
)

// Conversations remembers which tools of the gateway a conversation began with, and the turns in which the model called
// some, since its client has not seen these calls. It is shared by all bridges that may serve the same conversation. It is
// safe for concurrent use, and holds nothing that must be closed.
type Conversations struct {
	seed  maphash.Seed
	store TurnStore // Nil: turns are remembered in this process alone.

	mu    sync.Mutex // Guards what follows.
	known *simplelru.LRU[uint64, *conversation]
	sets  *simplelru.LRU[*mcp.Tool, *toolSet] // By the first of the tools that they are of.
	turns *simplelru.LRU[turnKey, []byte]     // Nil: nothing was kept under that key.
	after *simplelru.LRU[turnKey, uint64]     // The conversations of answers that a request can go on with, by their keys.
	bytes int                                 // Of all turns.
}

// turnKey is the key of a turn. It is the initiator's alone.
type turnKey struct{ initiatorID, key string }

// conversation is what is remembered of one. Its fields are guarded by the mutex of its Conversations.
type conversation struct {
	tools   *toolSet
	keys    []string // Of the turns that are to be put back.
	reached reach    // Of these messages it is known what was kept.
}

// NewConversations returns Conversations that remember nothing yet. What they cannot remember is kept in store, which may
// be nil.
func NewConversations(store TurnStore) *Conversations {
	c := &Conversations{seed: maphash.MakeSeed(), store: store}
	// The only error is that of a size below one.
	c.known, _ = simplelru.NewLRU[uint64, *conversation](mostConversations, nil)
	c.sets, _ = simplelru.NewLRU[*mcp.Tool, *toolSet](mostSets, nil)
	c.after, _ = simplelru.NewLRU[turnKey, uint64](mostTurns, nil)
	c.turns, _ = simplelru.NewLRU(mostTurns, func(_ turnKey, turn []byte) { c.bytes -= len(turn) })
	return c
}

// sum returns the number by which a conversation is known: a sum over texts that stay the same while it lasts.
func (c *Conversations) sum(texts ...string) uint64 {
	var sum maphash.Hash
	sum.SetSeed(c.seed)
	for _, text := range texts {
		_, _ = sum.WriteString(text) // It never fails.
		_ = sum.WriteByte(0)
	}
	return sum.Sum64()
}

// isChained reports whether a key is of what a provider has stored, and requests only refer to.
func isChained(key string) bool {
	return strings.HasPrefix(key, wire.AnswerKey) || strings.HasPrefix(key, wire.ConversationKey)
}

// goingOn returns the sum of the conversation that a request goes on with, by the keys of what the provider has stored. Its own
// sum is of the last words alone.
func (c *Conversations) goingOn(own uint64, initiatorID string, chain []string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range chain {
		if sum, ok := c.after.Get(turnKey{initiatorID, key}); ok {
			return sum
		}
	}
	return own
}

// goesOnAfter notes which conversation the answers are of that keys name.
func (c *Conversations) goesOnAfter(sum uint64, initiatorID string, keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		if isChained(key) {
			c.after.Add(turnKey{initiatorID, key}, sum)
		}
	}
}

// join returns the tools of a conversation: those that it began with, or those that there are if it begins now or is not
// known here. A conversation that is not known here and finds no tools may have begun with some, before this process: it is
// asked about again.
func (c *Conversations) join(sum uint64, begins bool, tools []mcp.Tool) *toolSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	of, known := c.known.Get(sum)
	if !known {
		if of = (&conversation{}); begins || len(tools) > 0 {
			c.known.Add(sum, of)
		}
	}
	if of.tools == nil || begins && !of.tools.isFrom(tools) {
		of.tools = c.setOf(tools)
	}
	return of.tools
}

// reach is how far a request goes in its conversation: how many messages it has, and a sum over the last one.
type reach struct {
	messages int
	last     uint64
}

// mark returns a sum over a message.
func (c *Conversations) mark(message []byte) uint64 { return maphash.Bytes(c.seed, message) }

// from returns from which of the messages of a request on something may have been kept that this process has not asked about:
// those that came since the last request, since another gateway may have answered in between. A request that has no more than
// that one, and is not the same again, goes back, and may go on from there in another way.
func (c *Conversations) from(sum uint64, to reach) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of, ok := c.known.Peek(sum); ok && (of.reached.messages < to.messages || of.reached == to) {
		return of.reached.messages
	}
	return 0
}

// reached notes that all that was kept of the messages of a request is known here.
func (c *Conversations) reached(sum uint64, to reach) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of, ok := c.known.Peek(sum); ok {
		of.reached = to
	}
}

// setOf returns the set of some tools. The caller holds mu.
func (c *Conversations) setOf(tools []mcp.Tool) *toolSet {
	if len(tools) == 0 {
		return newToolSet(nil)
	}
	set, ok := c.sets.Get(&tools[0])
	if !ok || !set.isFrom(tools) {
		set = newToolSet(tools)
		c.sets.Add(&tools[0], set)
	}
	return set
}

// find returns the turns that a request of a conversation may lack: those that are known of the conversation, and those
// under the keys. What this process does not know, or may not know any more, is asked of the store; an error says that it could
// not be asked.
func (c *Conversations) find(ctx context.Context, sum uint64, initiatorID string, keys []string) (map[string][]byte, error) {
	found, unknown := c.remembered(sum, initiatorID, keys)
	if len(unknown) == 0 || c.store == nil {
		return found, nil
	}
	stored, err := c.store.Find(ctx, initiatorID, unknown)
	if err != nil {
		return found, err
	}
	if found == nil {
		found = make(map[string][]byte, len(stored))
	}
	for _, key := range unknown {
		turn, isStored := stored[key]
		if !isStored && found[key] != nil {
			continue // It could not be stored.
		}
		delete(found, key)
		if turn, err = unpackTurn(turn); err != nil || string(turn) == overTurn {
			turn = nil // What cannot be read is as good as none.
		}
		if len(turn) > 0 {
			found[key] = turn
		}
		c.remember(sum, initiatorID, key, turn)
	}
	return found, nil
}

// remembered returns the turns that this process knows, and the keys that it knows nothing about, or nothing for certain.
func (c *Conversations) remembered(sum uint64, initiatorID string, keys []string) (found map[string][]byte, unknown []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	look := func(key string, ask bool) {
		turn, known := c.turns.Get(turnKey{initiatorID, key})
		if turn != nil {
			if found == nil {
				found = make(map[string][]byte)
			}
			found[key] = turn
		}
		if !known && ask || strings.HasPrefix(key, wire.ConversationKey) {
			unknown = append(unknown, key)
		}
	}
	if of, ok := c.known.Peek(sum); ok {
		for _, key := range of.keys {
			look(key, true)
		}
	}
	for _, key := range keys {
		look(key, true)
	}
	return found, unknown
}

// remember notes the turn under a key of a conversation, or that there is none. It returns whether it knew one.
func (c *Conversations) remember(sum uint64, initiatorID, key string, turn []byte) (knew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := turnKey{initiatorID, key}
	before, _ := c.turns.Peek(at)
	if len(turn) == 0 {
		turn = nil
	}
	c.turns.Remove(at)
	c.turns.Add(at, turn)
	c.bytes += len(turn)
	for c.bytes > mostTurnBytes {
		c.turns.RemoveOldest()
	}
	if of, ok := c.known.Peek(sum); ok && turn != nil && len(of.keys) < mostTurnKeys && !isChained(key) {
		for _, known := range of.keys {
			if known == key {
				return before != nil
			}
		}
		of.keys = append(of.keys, key)
	}
	return before != nil
}

// keep keeps a turn, here and in the store. An empty one says that what was kept under its keys is over. Of a turn that is too
// large, only that much is kept which the provider insists on.
func (c *Conversations) keep(ctx context.Context, sum uint64, turn KeptTurn) error {
	turn.Keys = slices.DeleteFunc(turn.Keys, func(key string) bool { return len(key) > longestTurnKey })
	var tooLarge error
	if n := len(turn.Turn); n > largestTurn {
		tooLarge = fmt.Errorf("it has %d bytes, of which at most %d are kept", n, largestTurn)
		turn.Turn = wire.WithoutRounds(turn.Turn)
	}
	if turn.InitiatorID != everybody {
		c.goesOnAfter(sum, turn.InitiatorID, turn.Keys)
	}
	var over []string
	for _, key := range turn.Keys {
		if c.remember(sum, turn.InitiatorID, key, turn.Turn) && len(turn.Turn) == 0 {
			over = append(over, key)
		}
	}
	if len(turn.Turn) == 0 {
		turn.Keys, turn.Turn = over, []byte(overTurn)
	}
	if c.store == nil || len(turn.Keys) == 0 {
		return tooLarge
	}
	packed := packTurn(turn.Turn)
	if n := len(packed); n > largestStored {
		tooLarge = cmp.Or(tooLarge, fmt.Errorf("it has %d bytes, of which other gateways can have at most %d", n, largestStored))
		packed = packTurn(wire.WithoutRounds(turn.Turn))
	}
	turn.Turn = packed
	turn.Lifetime = turnLifetime
	return cmp.Or(tooLarge, c.store.Keep(ctx, turn))
}
