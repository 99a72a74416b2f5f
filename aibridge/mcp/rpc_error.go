package mcp

import (
	"encoding/json"
	"fmt"
	"slices"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// rpcError is the JSON-RPC error in a server's answer.
type rpcError struct {
	code int
	text string
	data any // As encoding/json decodes it.
}

func (e *rpcError) Error() string { return fmt.Sprintf("JSON-RPC error %d: %s", e.code, e.text) }

// isOfStateless reports whether only a server that knows the stateless protocol gives this error: it has read the
// request, so to begin anew with an older protocol would not help.
func (e *rpcError) isOfStateless() bool {
	switch e.code {
	case mcpgo.HEADER_MISMATCH, mcpgo.MISSING_REQUIRED_CLIENT_CAPABILITY:
		return true
	case mcpgo.UNSUPPORTED_PROTOCOL_VERSION:
		return !e.offersInitialize()
	}
	return false
}

// offersInitialize reports whether the error names a protocol version that begins with initialize and that we speak.
func (e *rpcError) offersInitialize() bool {
	var data struct {
		Supported []string `json:"supported"`
	}
	encoded, err := json.Marshal(e.data)
	if err != nil || json.Unmarshal(encoded, &data) != nil {
		return false
	}
	return slices.ContainsFunc(data.Supported, func(version string) bool {
		return mcpgo.IsValidProtocolVersion(version) && !mcpgo.IsModernProtocol(version)
	})
}
