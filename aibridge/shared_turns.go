package aibridge

import (
	"context"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/wire"
)

// Whoever knows the id of a response, or of a conversation, that a provider stores may use it: the provider asks no more. What a
// gateway must know for that, which answer an id stands for and which of its calls have no results, is therefore kept for everybody,
// beside the turn that is the initiator's alone. The results of the calls are not in it.

// everybody is the initiator of what is kept for all: no user has this id.
const everybody = "00000000-0000-0000-0000-000000000000"

// settled is the turn of a conversation in which nothing is owed to the provider: that is something else than a conversation
// of which nothing is known.
const settled = `{"open":[]}`

// commonKey returns the key under which what everybody may know is kept, or "" if there is nothing of that kind under a key. An id
// that others could guess, or that another provider could give, says too little.
func commonKey(provider, key string) string {
	_, id, _ := strings.Cut(key, ":")
	if !isChained(key) || !wire.IsOwn(id) {
		return ""
	}
	return key + " " + provider
}

// findStored is find for a request to a provider, which may go on with what another user has begun.
func (c *Conversations) findStored(ctx context.Context, sum uint64, initiatorID, provider string, keys []string) (map[string][]byte, error) {
	found, err := c.find(ctx, sum, initiatorID, keys)
	if err != nil {
		return found, err
	}
	byCommon := map[string]string{}
	var common []string
	for _, key := range keys {
		isConversation := strings.HasPrefix(key, wire.ConversationKey)
		if of := commonKey(provider, key); of != "" && (isConversation || len(found[key]) == 0) {
			byCommon[of] = key
			common = append(common, of)
		}
	}
	if len(common) == 0 {
		return found, nil
	}
	ofAll, err := c.find(ctx, 0, everybody, common)
	for of, turn := range ofAll {
		key := byCommon[of]
		if len(found[key]) > 0 && owesTheSame(found[key], turn) {
			continue // The initiator's own has the results, too.
		}
		if found == nil {
			found = map[string][]byte{}
		}
		found[key] = turn
	}
	return found, err
}

// owesTheSame reports whether calls of the same ids have no results at the provider, by two turns. If not, somebody else has gone
// on with the conversation.
func owesTheSame(own, common []byte) bool {
	a, _ := wire.DecodeTurn(own)
	b, _ := wire.DecodeTurn(common)
	return slices.Equal(a.Open, b.Open)
}

// keepCommon keeps what everybody may know of a turn. An empty one is over.
func (c *Conversations) keepCommon(ctx context.Context, provider string, turn KeptTurn) error {
	for _, key := range turn.Keys {
		of := commonKey(provider, key)
		if of == "" {
			continue
		}
		common := KeptTurn{InitiatorID: everybody, Keys: []string{of}}
		switch {
		case len(turn.Turn) > 0:
			common.Turn = wire.WithoutRounds(turn.Turn)
			if string(c.knownTurn(everybody, of)) == string(common.Turn) {
				continue // Only results have come.
			}
		case strings.HasPrefix(key, wire.ConversationKey):
			if before := c.knownTurn(everybody, of); len(before) == 0 || string(before) == settled {
				continue
			}
			common.Turn = []byte(settled)
		}
		if err := c.keep(ctx, 0, common); err != nil {
			return err
		}
	}
	return nil
}

// knownTurn returns the turn that this process knows under a key, or nil.
func (c *Conversations) knownTurn(initiatorID, key string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	turn, _ := c.turns.Peek(turnKey{initiatorID, key})
	return turn
}
