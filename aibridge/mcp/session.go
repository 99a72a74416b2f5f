package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/client/transport"
	mcpgo "github.com/mark3labs/mcp-go/mcp"

	"github.com/coder/aibridged/internal/storable"
)

const (
	clientName    = "aibridged"
	clientVersion = "1"
	// farewellTimeout bounds how long it takes to tell a server that a session or a call has ended.
	farewellTimeout = 2 * time.Second
)

// session is one MCP session with one server. It is safe for concurrent use.
type session struct {
	transport *transport.StreamableHTTP
	endpoint  *endpoint
	secrets   secrets
	hasTools  bool
	lastID    atomic.Int64
	// uses counts the present uses of the session; its owner waits for them before it closes the session.
	uses sync.WaitGroup
}

// sessionTarget holds what openSession needs.
type sessionTarget struct {
	url         *url.URL
	credentials credentials
	next        http.RoundTripper
	// look is called from goroutines of mcp-go. It must not block.
	look func()
}

// openSession makes the handshake within ctx. The session listens for changes until life ends. The caller closes it.
func openSession(ctx, life context.Context, target sessionTarget) (*session, error) {
	e := &endpoint{next: target.next, header: target.credentials.header, look: target.look}
	t, err := transport.NewStreamableHTTP(target.url.String(),
		//lint:ignore SA1019 The protocol versions that have this stream are deprecated, but servers still speak them.
		transport.WithContinuousListening(),
		transport.WithHTTPBasicClient(&http.Client{Transport: e}),
		transport.WithHTTPLogger(slog.New(slog.DiscardHandler)), // Its log could contain secrets.
	)
	if err != nil {
		return nil, err
	}
	t.SetNotificationHandler(func(notification mcpgo.JSONRPCNotification) {
		if notification.Method == string(mcpgo.MethodNotificationToolsListChanged) {
			target.look()
		}
	})
	t.SetRequestHandler(answerPing)
	if err := t.Start(life); err != nil {
		return nil, err
	}
	s := &session{transport: t, endpoint: e, secrets: target.credentials.secrets}
	if err := s.handshake(ctx); err != nil {
		return nil, errors.Join(err, s.close(life))
	}
	return s, nil
}

// answerPing answers a server's ping, the only request that every client must answer, and refuses all other requests.
func answerPing(_ context.Context, request transport.JSONRPCRequest) (*transport.JSONRPCResponse, error) {
	if request.Method != string(mcpgo.MethodPing) {
		return transport.NewJSONRPCErrorResponse(request.ID, mcpgo.METHOD_NOT_FOUND, "method not found", nil), nil
	}
	return transport.NewJSONRPCResultResponse(request.ID, json.RawMessage("{}")), nil
}

func (s *session) handshake(ctx context.Context) error {
	raw, err := s.request(ctx, s.nextID(), string(mcpgo.MethodInitialize), map[string]any{
		"protocolVersion": mcpgo.LATEST_LEGACY_PROTOCOL_VERSION, // The newest with a stream of notifications.
		"clientInfo":      mcpgo.Implementation{Name: clientName, Version: clientVersion},
		"capabilities":    struct{}{},
	})
	if err != nil {
		return err
	}
	var answer struct {
		ProtocolVersion string `json:"protocolVersion"`
		Capabilities    struct {
			Tools *struct{} `json:"tools"`
		} `json:"capabilities"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
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

// rpcError is the JSON-RPC error in a server's answer.
type rpcError struct {
	code int
	text string
}

func (e *rpcError) Error() string { return fmt.Sprintf("JSON-RPC error %d: %s", e.code, e.text) }

// nextID returns an ID for a request.
func (s *session) nextID() int64 { return s.lastID.Add(1) }

// request sends a request and returns the result in the answer. If ctx ends first, the error is the context's cause.
func (s *session) request(ctx context.Context, id int64, method string, params any) (result json.RawMessage, err error) {
	// If a server's answer makes mcp-go panic, only this request fails.
	defer func() {
		if r := recover(); r != nil {
			result, err = nil, fmt.Errorf("panic in the MCP client: %v", r)
		}
	}()
	sendCtx, tooLarge := withTooLargeMark(ctx)
	answer, err := s.transport.SendRequest(sendCtx, transport.JSONRPCRequest{
		JSONRPC: mcpgo.JSONRPC_VERSION, ID: mcpgo.NewRequestId(id), Method: method, Params: params,
	})
	switch {
	case tooLarge.Load():
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxAnswer)
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, transport.ErrSessionTerminated):
		return nil, ErrSessionExpired
	case err != nil:
		return nil, err
	case answer.Error != nil:
		return nil, &rpcError{answer.Error.Code, answer.Error.Message}
	case answer.ID.Value() != id:
		return nil, errors.New("the answer is to another request")
	case len(answer.Result) == 0:
		return nil, errors.New("the answer has neither a result nor an error")
	}
	return answer.Result, nil
}

// notify sends a notification.
func (s *session) notify(ctx context.Context, method string, params map[string]any) error {
	return s.transport.SendNotification(ctx, mcpgo.JSONRPCNotification{
		JSONRPC: mcpgo.JSONRPC_VERSION,
		Notification: mcpgo.Notification{
			Method: method, Params: mcpgo.NotificationParams{AdditionalFields: params},
		},
	})
}

// close ends the session. It tells the server too, within ctx and farewellTimeout. Requests that are under way fail.
func (s *session) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, farewellTimeout)
	defer cancel()
	s.endpoint.farewell = ctx
	return s.transport.Close()
}
