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
	if err := s.initialize(ctx, target); err != nil {
		return nil, errors.Join(err, s.close(target.farewell()))
	}
	return s, nil
}

func (s *session) initialize(ctx context.Context, target sessionTarget) error {
	longer, end := target.lingering(ctx)
	defer end()
	got, err := s.send(longer, s.newRequest(mcpgo.MethodInitialize, map[string]any{
		"protocolVersion": mcpgo.LATEST_LEGACY_PROTOCOL_VERSION,
		"clientInfo":      mcpgo.Implementation{Name: clientName, Version: clientVersion},
		"capabilities":    struct{}{},
	}))
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
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

// lingering returns a context that ends with ctx, or a little later if ctx ends because of Shutdown: only the answer to
// initialize names the session that must be ended then.
func (t *sessionTarget) lingering(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), ErrClosed) {
			last, cancel := context.WithTimeout(t.farewell(), farewellTimeout)
			defer cancel()
			select {
			case <-last.Done():
			case <-longer.Done():
			}
		}
		end(context.Cause(ctx))
	})
	return longer, func() {
		stop()
		end(nil)
	}
}
