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
)

const (
	clientName    = "aibridged"
	clientVersion = "1"
	// farewellTimeout bounds how long it takes to tell a server that a session or a call has ended.
	farewellTimeout = 2 * time.Second
)

// session is what one user has with one server, from the handshake on: a session of the protocol, or, with a server that
// speaks the protocol without sessions, the choice of that protocol. It is safe for concurrent use.
type session struct {
	transport *transport.StreamableHTTP
	endpoint  *endpoint
	secrets   secrets
	stateless bool // It speaks statelessVersion.
	hasTools  bool
	lastID    atomic.Int64
	// uses counts the present uses of the session; its owner waits for them before it closes the session.
	uses sync.WaitGroup
	// unlisten ends the goroutine in listening, if there is one.
	unlisten  context.CancelFunc
	listening sync.WaitGroup
}

// sessionTarget holds what openSession needs.
type sessionTarget struct {
	url         *url.URL
	credentials credentials
	next        http.RoundTripper
	// look is called from goroutines of mcp-go. It must not block.
	look func()
	// farewell returns a context for telling the server that the session has ended.
	farewell func() context.Context
}

// openSession makes the handshake within ctx. The session listens for changes until life ends. The caller closes it.
func openSession(ctx, life context.Context, target sessionTarget) (*session, error) {
	s, err := discover(ctx, life, target)
	if s != nil || err != nil {
		return s, err
	}
	return initialize(ctx, life, target)
}

// newSession returns a session before its handshake.
func newSession(life context.Context, target sessionTarget, stateless bool) (*session, error) {
	e := &endpoint{next: target.next, header: target.credentials.header, look: target.look}
	options := []transport.StreamableHTTPCOption{
		transport.WithHTTPBasicClient(&http.Client{Transport: e}),
		transport.WithHTTPLogger(slog.New(slog.DiscardHandler)), // Its log could contain secrets.
	}
	if !stateless {
		//lint:ignore SA1019 The protocol versions that have this stream are deprecated, but servers still speak them.
		options = append(options, transport.WithContinuousListening())
	}
	t, err := transport.NewStreamableHTTP(target.url.String(), options...)
	if err != nil {
		return nil, err
	}
	t.SetNotificationHandler(func(notification mcpgo.JSONRPCNotification) {
		if notification.Method == string(mcpgo.MethodNotificationToolsListChanged) {
			target.look()
		}
	})
	t.SetRequestHandler(answerPing)
	if stateless {
		t.SetProtocolVersion(statelessVersion)
	}
	if err := t.Start(life); err != nil {
		return nil, err
	}
	return &session{
		transport: t, endpoint: e, secrets: target.credentials.secrets, stateless: stateless, unlisten: func() {},
	}, nil
}

// answerPing answers a server's ping, the only request that every client must answer, and refuses all other requests.
func answerPing(_ context.Context, request transport.JSONRPCRequest) (*transport.JSONRPCResponse, error) {
	if request.Method != string(mcpgo.MethodPing) {
		return transport.NewJSONRPCErrorResponse(request.ID, mcpgo.METHOD_NOT_FOUND, "method not found", nil), nil
	}
	return transport.NewJSONRPCResultResponse(request.ID, json.RawMessage("{}")), nil
}

// request is one request to a server.
type request struct {
	id     int64
	method mcpgo.MCPMethod
	params map[string]any // Never nil. The session adds to it what its protocol wants.
	tool   *listedTool    // The tool that is called, or nil.
}

// newRequest returns a request with an ID of its own.
func (s *session) newRequest(method mcpgo.MCPMethod, params map[string]any) request {
	return request{id: s.lastID.Add(1), method: method, params: params}
}

// reply is what came of a request, also beside an error.
type reply struct {
	result json.RawMessage
	// begun says that the server began to answer, so it may have done what was asked, whatever became of the answer.
	begun bool
}

// send sends a request and returns the result in the answer. If ctx ends first, the error is the context's cause.
func (s *session) send(ctx context.Context, r request) (got reply, err error) {
	sendCtx, marks := withAnswerMarks(ctx)
	// If a server's answer makes mcp-go panic, only this request fails.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in the MCP client: %v", p)
		}
		got.begun = marks.begun.Load()
	}()
	var header http.Header
	if s.stateless {
		if header, err = r.makeStateless(); err != nil {
			return reply{}, err
		}
	}
	answer, err := s.transport.SendRequest(sendCtx, transport.JSONRPCRequest{
		JSONRPC: mcpgo.JSONRPC_VERSION, ID: mcpgo.NewRequestId(r.id), Method: string(r.method), Params: r.params, Header: header,
	})
	switch {
	case marks.tooLarge.Load():
		return reply{}, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxAnswer)
	case err != nil && ctx.Err() != nil:
		return reply{}, context.Cause(ctx)
	case errors.Is(err, transport.ErrSessionTerminated):
		return reply{}, ErrSessionExpired
	case err != nil:
		return reply{}, err
	case answer.Error != nil:
		return reply{}, &rpcError{code: answer.Error.Code, text: answer.Error.Message, data: answer.Error.Data}
	case answer.ID.Value() != r.id:
		return reply{}, errors.New("the answer is to another request")
	case len(answer.Result) == 0:
		return reply{}, errors.New("the answer has neither a result nor an error")
	}
	return reply{result: answer.Result}, nil
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
	s.unlisten()
	s.endpoint.farewell = ctx
	err := s.transport.Close()
	s.listening.Wait()
	return err
}
