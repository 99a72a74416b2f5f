package aibridged

import "github.com/google/uuid"

// Request says for whom a bridge is: one user, with one API key. The [Server] makes it from the control plane's answer
// about the caller's key, never from what callers say about themselves.
type Request struct {
	// SessionKey is the secret of the API key, with which the gateway acts for the user at the Coder MCP server. It is
	// empty for a delegated request: the delegating caller knows the key's id, not its secret.
	SessionKey string
	// APIKeyID is the id of the API key. It is no secret.
	APIKeyID string
	// InitiatorID is the user who owns the key.
	InitiatorID uuid.UUID
}
