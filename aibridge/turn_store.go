package aibridge

import (
	"context"
	"time"
)

// TurnStore keeps what is needed to put calls of the gateway's tools back into a conversation, where other gateways find
// it too. It is safe for concurrent use.
type TurnStore interface {
	// Keep keeps a turn. It returns once other gateways can find it.
	Keep(ctx context.Context, turn KeptTurn) error
	// Find returns the turns of that initiator that are known by these keys. Keys of which none is known are missing.
	Find(ctx context.Context, initiatorID string, keys []string) (map[string][]byte, error)
}

// KeptTurn is what is kept of one answer.
type KeptTurn struct {
	InitiatorID string
	Keys        []string // It is found by each of them.
	Turn        []byte
	Lifetime    time.Duration
}
