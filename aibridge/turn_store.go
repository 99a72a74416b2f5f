package aibridge

import (
	"context"
	"time"
)

// TurnStore keeps what is needed to put calls of the gateway's tools back into a conversation, where other gateways find it
// too. It is safe for concurrent use.
type TurnStore interface {
	// Keep keeps a turn. A key that an earlier turn of the initiator has is this one's from now on.
	Keep(ctx context.Context, turn KeptTurn) error
	// Find returns the initiator's turns that are known under keys, each under its key. Keys that nobody knows, or whose
	// turns have expired, are missing.
	Find(ctx context.Context, initiatorID string, keys []string) (map[string][]byte, error)
}

// KeptTurn is a turn that is kept for the gateways that serve its initiator.
type KeptTurn struct {
	InitiatorID string   // UUID.
	Keys        []string // Ids of calls and of responses, by which clients refer to the turn.
	Turn        []byte   // At most 3 MiB, in a form of the gateway's own.
	Lifetime    time.Duration
}
