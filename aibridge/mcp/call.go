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

// toolCall is one call of a tool.
type toolCall struct {
	tool      *listedTool
	arguments json.RawMessage
}

// Call implements [ServerProxier]. If the server has forgotten the session, or refused the credentials, Call opens a new
// session, with new credentials, and makes the call once more. It does not do so if the server had begun to answer, so
// that the tool may have run, unless the server declares the tool read-only or idempotent.
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

	call := toolCall{tool, arguments}
	result, first, err := p.callOnce(ctx, call)
	refused := errors.Is(err, ErrUnauthorized) && p.options.Reauthorize != nil
	if !refused && !errors.Is(err, ErrSessionExpired) {
		if mayBeForgotten(first.err) {
			p.look()
		}
		return result, err
	}
	if renewErr := p.renew(ctx, first.session, refused); renewErr != nil {
		return Result{}, renewErr
	}
	if first.begun && !tool.repeatable() {
		return Result{}, err
	}
	result, _, err = p.callOnce(ctx, call)
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

// tried is a try to make a call.
type tried struct {
	session *session
	begun   bool  // The server had begun to answer.
	err     error // As it came, with all secrets.
}

// callOnce makes a call on the present session.
func (p *StreamableHTTPProxy) callOnce(ctx context.Context, call toolCall) (Result, tried, error) {
	s, err := p.use()
	if err != nil {
		return Result{}, tried{}, err
	}
	defer s.uses.Done()
	r := s.newRequest(mcpgo.MethodToolsCall, map[string]any{"name": call.tool.Name, "arguments": call.arguments})
	r.tool = call.tool
	got, err := s.send(ctx, r)
	if err != nil && ctx.Err() != nil {
		p.abandon(s, r.id)
	}
	var result Result
	if err == nil {
		result, err = readResult(got.result, s.secrets, p.options.ResultBytes)
	}
	try := tried{session: s, begun: got.begun, err: err}
	if err != nil {
		err = p.failure("call "+call.tool.Name, s.secrets, err)
	}
	return result, try, err
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

// abandon tells the server, in the background, that nobody waits for the request any more: before the stateless
// protocol, a closed connection does not tell it that.
func (p *StreamableHTTPProxy) abandon(s *session, id int64) {
	if s.stateless {
		return
	}
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
