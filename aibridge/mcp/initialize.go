package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	mcpgo "github.com/mark3labs/mcp-go/mcp"

	"github.com/coder/aibridged/internal/storable"
)

// capabilities are what this package must know of a server's capabilities.
type capabilities struct {
	Tools *struct {
		ListChanged bool `json:"listChanged"`
	} `json:"tools"`
}

// initialize opens a session of a protocol up to 2025-11-25.
func initialize(ctx, life context.Context, target sessionTarget) (*session, error) {
	s, err := newSession(life, target, false)
	if err != nil {
		return nil, err
	}
	if err := s.initialize(ctx); err != nil {
		return nil, errors.Join(err, s.close(life))
	}
	return s, nil
}

func (s *session) initialize(ctx context.Context) error {
	got, err := s.send(ctx, s.newRequest(mcpgo.MethodInitialize, map[string]any{
		"protocolVersion": mcpgo.LATEST_LEGACY_PROTOCOL_VERSION,
		"clientInfo":      mcpgo.Implementation{Name: clientName, Version: clientVersion},
		"capabilities":    struct{}{},
	}))
	if err != nil {
		return err
	}
	var answer struct {
		ProtocolVersion string       `json:"protocolVersion"`
		Capabilities    capabilities `json:"capabilities"`
	}
	if err := json.Unmarshal(got.result, &answer); err != nil {
		return fmt.Errorf("the answer to initialize: %w", err)
	}
	version := answer.ProtocolVersion
	if !mcpgo.IsValidProtocolVersion(version) || mcpgo.IsModernProtocol(version) {
		return fmt.Errorf("the server wants to speak version %q of the protocol", storable.Cut(version, 20))
	}
	s.hasTools = answer.Capabilities.Tools != nil
	s.transport.SetProtocolVersion(version)
	return s.notify(ctx, string(mcpgo.MethodNotificationInitialized), nil)
}
