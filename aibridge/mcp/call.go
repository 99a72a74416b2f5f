package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"cdr.dev/slog/v3"
	mcpgo "github.com/mark3labs/mcp-go/mcp"

	"github.com/coder/aibridged/internal/storable"
)

// maxShownID is how many bytes of an unknown tool's ID an error repeats. Models make such IDs up, of any length.
const maxShownID = 128

var errNotConnected = errors.New("not connected")

// callParams are the parameters of a tools/call.
type callParams struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// Call implements [ServerProxier]. If the server has forgotten the session, Call opens a new one; it repeats the call
// only if the server declares the tool read-only or idempotent. If the server refused the credentials, Call repeats the
// call with new ones.
func (p *StreamableHTTPProxy) Call(ctx context.Context, toolID string, input json.RawMessage) (Result, error) {
	tool, ok := p.catalog.Load().byID[toolID]
	if !ok {
		return Result{}, unknownTool(toolID)
	}
	arguments, err := asArguments(input)
	if err != nil {
		return Result{}, err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(p.life, func() { end(ErrClosed) })()
	ctx, cancel := context.WithTimeout(ctx, p.options.CallTimeout)
	defer cancel()

	params := callParams{Name: tool.Name, Arguments: arguments}
	result, used, err := p.callOnce(ctx, params)
	refused := errors.Is(err, ErrUnauthorized) && p.options.Reauthorize != nil
	if !refused && !errors.Is(err, ErrSessionExpired) {
		return result, err
	}
	if renewErr := p.renew(ctx, used, refused); renewErr != nil {
		return Result{}, renewErr
	}
	if !refused && !tool.repeatable() {
		return Result{}, err
	}
	result, _, err = p.callOnce(ctx, params)
	return result, err
}

func unknownTool(id string) error {
	return fmt.Errorf("%w: %q", ErrUnknownTool, storable.Cut(id, maxShownID))
}

// asArguments returns a model's input as the arguments of a call. It fails if the input is not a JSON object.
func asArguments(input json.RawMessage) (json.RawMessage, error) {
	input = bytes.TrimSpace(input)
	if len(input) == 0 || bytes.Equal(input, []byte("null")) {
		return json.RawMessage("{}"), nil
	}
	if input[0] != '{' || !json.Valid(input) {
		return nil, errors.New("the tool's input is not a JSON object")
	}
	return input, nil
}

// callOnce makes a call on the present session. It returns that session too.
func (p *StreamableHTTPProxy) callOnce(ctx context.Context, params callParams) (Result, *session, error) {
	s, err := p.use()
	if err != nil {
		return Result{}, nil, err
	}
	defer s.uses.Done()
	id := s.nextID()
	raw, err := s.request(ctx, id, string(mcpgo.MethodToolsCall), params)
	if err != nil {
		if ctx.Err() != nil {
			p.abandon(s, id)
		}
		return Result{}, s, p.failure("call "+params.Name, s.secrets, err)
	}
	result, err := readResult(raw, s.secrets, p.options.ResultBytes)
	if err != nil {
		return Result{}, s, p.failure("call "+params.Name, s.secrets, err)
	}
	return result, s, nil
}

// use returns the present session and counts one more use of it. The caller ends the use with uses.Done.
func (p *StreamableHTTPProxy) use() (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if p.session == nil {
		return nil, errNotConnected
	}
	p.session.uses.Add(1)
	return p.session, nil
}

// abandon tells the server, in the background, that nobody waits for the request any more: a closed connection does not
// tell it that.
func (p *StreamableHTTPProxy) abandon(s *session, id int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return // Closing the session tells the server too.
	}
	s.uses.Add(1)
	p.background.Go(func() {
		defer s.uses.Done()
		ctx, cancel := context.WithTimeout(p.life, farewellTimeout)
		defer cancel()
		err := s.notify(ctx, string(mcpgo.MethodNotificationCancelled), map[string]any{"requestId": id})
		if err != nil {
			p.options.Logger.Debug(ctx, "cancel call of MCP tool", slog.Error(p.failure("cancel", s.secrets, err)))
		}
	})
}
